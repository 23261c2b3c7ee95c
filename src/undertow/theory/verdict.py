"""What a forecast says will go wrong, in the words of findings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from undertow.foundation import Cause, Evidence, Finding, Kind, Severity
from undertow.record import Entry
from undertow.record import flow as flows
from undertow.theory.blueprint import Node
from undertow.theory.silent import born_dead
from undertow.theory.told import finding
from undertow.theory.unreached import unreached

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast

MATCHED: tuple[Kind, ...] = ("vanishing", "exploding", "saturated", "dead")
"""Kinds that other initial weights may cure."""
DEAD_SHARE = 0.5
"""Half of a layer's width lost, as the rule `dead` has it."""
SHIFTED = 2.0
"""A pre-activation two standard deviations below zero leaves 2 % of a normal input above it."""
LARGEST = torch.finfo(torch.float32).max
ORDER = {"critical": 0, "warning": 1, "note": 2}


def judged(forecast: Forecast) -> tuple[Finding, ...]:
    """The findings, worst first, with what matched initial weights would do about them.

    The limits are those of the rules that judge a measured run (`undertow.record.flow`), and as scale-free: what one
    learning rate can serve.  Of symptoms of one cause one is told: identical units and layers that start at 0 look
    like a vanishing gradient, saturated units make one, and exploding weights saturate.
    """
    found = faults(forecast)
    curable = [f.kind in MATCHED and not f.rule for f in found]  # matched weights leave recurrent ones as they are
    matched = forecast.matched if any(curable) else None
    return tuple(_with_help(f, matched) if matched and may else f for f, may in zip(found, curable, strict=True))


def faults(forecast: Forecast) -> list[Finding]:
    """The findings by themselves."""
    if not forecast.ledger.path:
        return []
    found: list[Finding] = []
    for look in (_nonfinite, _single, _idle, _dead, _exploding, _saturated, _vanishing):
        found = found or list(look(forecast))
    if found and found[0].kind == "nonfinite":
        return found  # of the rest nothing can be said
    return sorted([*found, *_along_time(forecast), *unreached(forecast)], key=lambda f: ORDER[f.severity])


def _with_help(told: Finding, matched: Forecast) -> Finding:
    left = [f for f in faults(matched) if f.kind in MATCHED]
    values = told.values | {"matched": matched.left, "remaining": left[0].title if left else ""}
    return replace(told, values=values, cures=told.cures if left else ("matched_init", *told.cures))


# ---------------------------------------------------------------- numbers and outputs


def _nonfinite(forecast: Forecast) -> Iterator[Finding]:
    """The first site whose values leave float32, which most models compute in."""
    sizes = [(None, _input_size(forecast)), *((e, e.forward_rms) for e in forecast.ledger)]
    first = next(((e, size) for e, size in sizes if not size <= LARGEST), None)
    if first is None:
        return
    entry, size = first
    cause: Cause = "input_scale" if entry is None else "activation" if entry.site.effect == "activation" else "weights"
    where = forecast.ledger.path[0].site.label if entry is None else entry.site.label
    evidence = (Evidence("forward_size", size, None, LARGEST, "finite"),)
    yield finding("nonfinite", "critical", cause, where, evidence, {"size": size})


def _single(forecast: Forecast) -> Iterator[Finding]:
    """A softmax over one unit, which is 1 whatever it is given."""
    for node in forecast.blueprint.nodes:
        if node.site is not None and "softmax" in node.site.operation and node.law.shape and node.law.shape[-1] == 1:
            evidence = (Evidence("softmax_units", 1.0, 2.0, None, "twins"),)
            yield finding("loss_mismatch", "critical", "loss", node.site.label, evidence, {})
            return


# ---------------------------------------------------------------- the flow


def _exploding(forecast: Forecast) -> Iterator[Finding]:
    return _flow(forecast, "exploding")


def _vanishing(forecast: Forecast) -> Iterator[Finding]:
    return _flow(forecast, "vanishing")


def _flow(forecast: Forecast, kind: Kind) -> Iterator[Finding]:
    left, ledger = forecast.left, forecast.ledger
    if not (left < flows.VANISHED if kind == "vanishing" else left > flows.EXPLODED):
        return  # a NaN compares false: where nothing comes back from the output there is no flow to judge
    if kind == "vanishing":
        cause, critical = flows.vanishing_cause(ledger), left < flows.LOST
    else:
        cause, critical = flows.exploding_cause(ledger), left > flows.EXPLODED**2
    values = flows.account(ledger)
    low, high = flows.VANISHED, flows.EXPLODED
    evidence = (
        Evidence("flow", left, low, high, "one_rate"),
        Evidence("activation_factor", values["activation"], 0.7, 1.4, "keeps_size"),
        Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
        Evidence("trainable_layers", forecast.trainable_depth - 1, forecast.layers, None, "one_rate"),
    )
    where = flows.first_weights(ledger).site.label
    yield finding(kind, "critical" if critical else "warning", cause, where, evidence, values)


def _along_time(forecast: Forecast) -> Iterator[Finding]:
    """A gradient that grows along the steps of a recurrent layer.

    One that vanishes is a note: gates open, and whether the task needs so many steps is not known before the first.
    """
    for site, back in forecast.through_time.items():
        grows = back.left > flows.EXPLODED
        if not grows and not back.left < flows.VANISHED:
            continue
        kind: Kind = "exploding" if grows else "vanishing"
        severity: Severity = "note" if not grows else "critical" if back.left > flows.EXPLODED**2 else "warning"
        evidence = (Evidence("flow", back.left, flows.VANISHED, flows.EXPLODED, "one_rate"),)
        values = {"factor": back.factor, "steps": back.steps, "left": back.left}
        found = finding(kind, severity, "weights", site.label, evidence, values)
        yield replace(found, rule=f"{kind}_through_time")


# ---------------------------------------------------------------- dead units


def _dead(forecast: Forecast) -> Iterator[Finding]:
    """The first layer all of whose units next to no sample reaches, else the first that half of them are so.

    Where the gradient vanishes or explodes besides, that is the fault, and dead units of a deep net a part of it.
    """
    ledger, shares = forecast.ledger, forecast.silent
    entry = next((e for least in (1.0, DEAD_SHARE) for e in ledger if shares.get(e.site, 0.0) >= least), None)
    if entry is None or entry.slope is None:
        return
    share, layer = shares[entry.site], flows.layer_of(ledger, entry)
    received = next((e.forward for e in ledger if e.site == entry.previous), None)
    mean, std = (received.mean, received.std) if received else (0.0, 0.0)
    after = ledger.entries[ledger.entries.index(entry) :]
    cause: Cause = "depth"
    if not any(e.site.effect == "weights" for e in after):
        cause = "activation"
    elif mean < -SHIFTED * std:
        cause = "weights"
    elif not flows.VANISHED <= forecast.left <= flows.EXPLODED:
        return
    widths = [e.slope.units for e in ledger if e.site in shares and e.slope is not None]
    born = born_dead(widths)
    evidence = (
        Evidence("dead_share", share, None, DEAD_SHARE, "half_layer"),
        Evidence("born_dead", born, None, None, ""),
    )
    values = {"share": share, "act": entry.slope.activation, "mean": mean, "std": std, "born": born}
    values |= {"layers": len(widths), "narrowest": min(widths)}
    severity: Severity = "critical" if share == 1.0 else "warning"
    where = entry.site.label if cause == "activation" else layer.site.label
    yield finding("dead", severity, cause, where, evidence, values)


# ---------------------------------------------------------------- saturated units


def _saturated(forecast: Forecast) -> Iterator[Finding]:
    """The first activation, bounded and not the output, most of whose derivatives are flat."""
    last = forecast.ledger.path[-1].site
    bounded = [e for e in forecast.ledger if e.slope is not None and e.slope.saturating and e.site != last]
    flat = next((e for e in bounded if _flat(e) >= flows.FLAT_SHARE), None)
    if flat is None:
        return
    slope, size = flat.slope, _input_size(forecast)
    assert slope is not None
    by_input = flat is bounded[0] and size > flows.LARGE_INPUT
    before = next((e.forward_rms for e in forecast.ledger if e.site == flat.previous), size)
    values = {"share": slope.flat, "act": slope.activation, "input": size, "received": before}
    evidence = (
        Evidence("flat_share", slope.flat, None, flows.FLAT_SHARE, "own_derivative"),
        Evidence("input_rms", size, None, flows.LARGE_INPUT, "standardised"),
        Evidence("preactivation_rms", before, None, None, ""),
    )
    severity: Severity = "critical" if slope.flat > 0.95 else "warning"
    cause: Cause = "input_scale" if by_input else "weights"
    where = flows.layer_of(forecast.ledger, flat).site.label
    yield finding("saturated", severity, cause, where, evidence, values)


def _flat(entry: Entry) -> float:
    return entry.slope.flat if entry.slope is not None else 0.0


def _input_size(forecast: Forecast) -> float:
    """The rms of the first thing that the model is given."""
    return forecast.flow.signals[0].rms if forecast.flow.signals else math.nan


# ---------------------------------------------------------------- layers that start alike


def _idle(forecast: Forecast) -> Iterator[Finding]:
    """Layers of the main path that start at 0, or whose units start identical.

    One layer at 0 is a common choice (a head, the end of a residual branch): it has a gradient of its own and opens
    in the first step.  Of two in a row neither has.
    """
    weighted = [(e, n) for e, n in zip(forecast.ledger.path, _nodes(forecast), strict=True) if _weights(n) is not None]
    zero = [e for e, n in weighted if _weights(n) == 0.0]
    if forecast.ledger.path[0].backward_rms == 0.0 and zero:
        values = {"count": len(zero), "layers": len(weighted)}
        evidence = (Evidence("zero_layers", float(len(zero)), None, 1.0, "opens"),)
        severity: Severity = "critical" if len(zero) > 1 else "note"
        yield finding("symmetric", severity, "weights", zero[0].site.label, evidence, values)
        return
    for (entry, node), (_, after) in pairwise(weighted):
        if "units" in _alike(node) and "inputs" in _alike(after):
            units = node.law.shape[-1]
            evidence = (Evidence("identical_units", float(units), None, 1.0, "twins"),)
            values = {"count": units, "layers": len(weighted)}
            yield finding("symmetric", "critical", "weights", entry.site.label, evidence, values)
            return


def _nodes(forecast: Forecast) -> list[Node]:
    by_site = {n.site: n for n in forecast.blueprint.nodes if n.site is not None}
    return [by_site[e.site] for e in forecast.ledger.path]


def _weights(node: Node) -> float | None:
    """E[w²] of an affine map; None for another law."""
    return getattr(node.law, "weight", None) if node.law.effect == "weights" else None


def _alike(node: Node) -> frozenset[str]:
    return getattr(node.law, "alike", frozenset())
