"""The depth profile: the size of the backward value at each layer, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.record import Entry, Ledger
from undertow.report.figures.style import INK, MUTED, PALETTE, Picture, canvas, picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The smallest positive normal numbers: 2⁻¹⁴ for float16, 2⁻¹²⁶ for float32 and for bfloat16, which has the same
# exponent (IEEE 754-2019, table 3.5; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322).
UNDERFLOW = {"float16": 2.0**-14, "float32, bfloat16": 2.0**-126}
_LABEL = 0.08
"""Room right of the last layer for its number, as a share of the layers; chosen by eye."""
_MARKED_LAYERS = 40
"""Beyond so many points the markers would hide the line."""


def depth_profile(ledgers: Ledger | Mapping[str, Ledger], title: str | None = None) -> Picture:
    """rms ∂L/∂(output of layer ℓ) against ℓ, one line a ledger, each with its mean factor per layer; SVG text.

    A layer is a place where weights act: the points are the sites with the effect `weights` on the main path, or all
    of its sites where there are none.  Dashed lines show where a number format leaves its normal range, if that is in
    sight.  A backward value of exactly 0, or one that is not finite, is no point on a log scale: it is left out and
    counted in the legend.
    """
    named = {"": ledgers} if isinstance(ledgers, Ledger) else dict(ledgers)
    if not any(layers(ledger) for ledger in named.values()):
        raise InputError(
            "ledgers without a measured site",
            "at least one layer with a backward value",
            "depth_profile(ut.examine(model, batch, loss).ledger)",
        )
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure, (axes,) = canvas(height=3.9)
        for (name, ledger), colour in zip(named.items(), _colours(), strict=False):
            _line(axes, name, layers(ledger), colour)
        _underflow(axes)
        axes.set_yscale("log")
        axes.set_xlabel(say("figures.depth.layer"))
        axes.set_ylabel(say("figures.depth.backward"))
        axes.set_title(title or say("figures.depth.title"))
        axes.margins(x=0.04, y=0.12)
        axes.set_xlim(right=axes.get_xlim()[1] + _LABEL * max(len(layers(ledger)) for ledger in named.values()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=1)
        return picture(figure, title or say("figures.depth.title"), _description(named))


def layers(ledger: Ledger) -> list[Entry]:
    """The entries where weights act, in the order of the forward pass; all of them where none do."""
    return [e for e in ledger.path if e.site.effect == "weights"] or list(ledger.path)


def per_layer(entries: list[Entry]) -> float:
    """The geometric mean of the factor from a layer to the one before it; NaN where it can't be told."""
    ends = [e.backward_rms for e in (entries[0], entries[-1])] if len(entries) > 1 else []
    if not ends or not all(math.isfinite(v) and v > 0 for v in ends):
        return math.nan
    return (ends[0] / ends[1]) ** (1 / (len(entries) - 1))


def _colours() -> list[str]:
    return [*PALETTE] * 4


def _line(axes: Axes, name: str, entries: list[Entry], colour: str) -> None:
    points = [(i, e.backward_rms) for i, e in enumerate(entries, 1) if 0 < e.backward_rms < math.inf]
    parts = [name, say("figures.depth.per_layer", factor=written(per_layer(entries)))]
    if len(points) < len(entries):
        parts.append(say("figures.depth.left_out", count=len(entries) - len(points)))
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=colour,
        label=": ".join(p for p in parts[:2] if p) + "".join(f"; {p}" for p in parts[2:]),
        marker="o" if len(points) <= _MARKED_LAYERS else "",
        markersize=4,
    )
    rising = len(points) > 1 and points[-1][1] > points[0][1]
    for x, y in (points[0], points[-1]) if len(points) > 1 else points:
        # right of its point, on the side that the line does not take; the last one stands past the line's end
        lift = -12 if rising else 5
        axes.annotate(
            written(y, 2),
            (x, y),
            textcoords="offset points",
            xytext=(7, lift),
            ha="left",
            fontsize=8.5,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )


def _underflow(axes: Axes) -> None:
    """A line where a format's normal range ends, if the values come near it."""
    low = min((y for line in axes.lines for y in line.get_ydata() if y > 0), default=1.0)  # type: ignore[union-attr]
    for name, smallest in UNDERFLOW.items():
        if low <= smallest * 10:
            axes.axhline(smallest, color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
            axes.annotate(
                say("figures.depth.underflow", format=name),
                (0.5, smallest),
                textcoords="offset points",
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                ha="center",
                fontsize=8,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )


def _description(ledgers: Mapping[str, Ledger]) -> str:
    return " ".join(
        say(
            "figures.depth.description",
            name=name or say("figures.depth.model"),
            layers=len(found),
            last=written(found[-1].backward_rms),
            first=written(found[0].backward_rms),
            factor=written(per_layer(found)),
        )
        for name, ledger in ledgers.items()
        if (found := layers(ledger))
    )
