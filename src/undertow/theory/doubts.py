"""Why a whole forecast may be off: a size that leaves its fixed point, and a net too deep for its width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undertow.record import Site
from undertow.theory.account import mean_of
from undertow.theory.laws import Activate

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast

GROWN = 3.0
"""A relative error of E[x²] that has grown so much is flagged; ours."""
WIDE = 1.0
"""β above which finite width is not a small correction: the standard deviation of ln δ² is then 1."""


def growth(forecast: Forecast) -> tuple[float, Site | None]:
    """By how much a relative error of the signal's size has grown at most on the main path, and where.

    d ln q_out / d ln q_in is q (dE[f²]/dq)/E[f²] of an activation (so that its product over layers is χ∥ at a fixed
    point), and (q − σ_b²)/q of an affine map; a normalisation forgets the error.  Of a sum with a residual branch the
    error is taken as it was.
    """
    nodes = {n.site: (i, n) for i, n in enumerate(forecast.blueprint.nodes) if n.site is not None}
    largest, site, grown = 1.0, None, 1.0
    for entry in forecast.ledger.path:
        index, node = nodes[entry.site]
        if entry.site.effect == "normalisation":
            grown = 1.0
        elif isinstance(node.law, Activate):
            x = forecast.flow.signals[node.inputs[0]]
            m = node.law.moments(x)
            q = float((x.square - x.mean.square()).mean())
            grown *= q * mean_of(m.dE_f2_dq) / max(mean_of(m.E_f2), 1e-300)
        elif entry.site.effect == "weights" and node.inputs:
            size = float(forecast.flow.signals[index].square.mean())
            grown *= max(1 - getattr(node.law, "bias", 0.0) / size, 0.0) if size > 0 else 1.0
        grown = max(grown, 1.0)
        if grown > largest:
            largest, site = grown, entry.site
    return largest, site


def overall(forecast: Forecast) -> dict[str, tuple[Site, ...]]:
    """Flags that concern the way, not one operation: by key, the site where it is worst."""
    found: dict[str, tuple[Site, ...]] = {}
    largest, site = growth(forecast)
    if largest > GROWN and site is not None:
        found["unstable"] = (site,)
    deltas = {n.site: d for n, d in zip(forecast.blueprint.nodes, forecast.flow.deltas, strict=True) if n.site and d}
    widest = max(deltas, key=lambda s: deltas[s].spread, default=None)
    if widest is not None and deltas[widest].spread > WIDE:
        found["narrow"] = (widest,)
    if again := repeated(forecast):
        found["equal_weights"] = again
    return found


def repeated(forecast: Forecast) -> tuple[Site, ...]:
    """Sites of the main path whose weights another one of the same kind has too: copies, or one layer called again.

    What such layers make of the signal adds up in a residual sum, as the steps of a power iteration; independent
    layers average out.  Where copies follow each other without a sum only the scatter is larger.
    """
    equal = forecast.blueprint.equal
    nodes = {n.site: n for n in forecast.blueprint.nodes if n.site is not None}
    users: dict[tuple[str, str], list[Site]] = {}
    for entry in forecast.ledger.path:
        node = nodes[entry.site]
        for weight in {equal[name] for name in node.parameters if name in equal}:
            users.setdefault((weight, type(node.law).__name__), []).append(entry.site)
    repeated = {site for sites in users.values() if len(sites) > 1 for site in sites}
    return tuple(e.site for e in forecast.ledger.path if e.site in repeated)
