"""The forecast: theory as a line with the band of its interval, measured values as points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from undertow.diagnosis import Comparison
from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.report.figures.depth import UNDERFLOW
from undertow.report.figures.style import BACKWARD, FORWARD, INK, MUTED, Picture, canvas, picture, styled
from undertow.theory import Forecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 30
"""So many layers have larger points."""


class Point(NamedTuple):
    """A layer of weights: the forecast with its interval, and the measured size (NaN without one)."""

    expected: float
    low: float
    high: float
    measured: float
    within: bool


def forecast_figure(subject: Forecast | Comparison, title: str | None = None) -> Picture:
    """rms ∂L/∂(output of layer ℓ) against ℓ on a log scale, with the interval of 95 % of initialisations; SVG text.

    Points are the sites of the main path where weights act, or all of its sites where there are none.  Of a comparison
    the measured values are drawn too, those outside their interval as crosses; dashed lines show where a number format
    leaves its normal range, if that is in sight.

    Raises
    ------
    InputError
        No site has a size that a log scale can show.
    """
    points = _points(subject)
    if not any(0 < p.expected < math.inf for p in points):
        raise InputError("a forecast without a gradient", "a layer with a backward value", "forecast_figure(forecast)")
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure, (axes,) = canvas(height=3.9)
        _band(axes, points)
        if isinstance(subject, Comparison):
            _measured(axes, points, subject.seeds)
        _formats(axes, points)
        axes.set_yscale("log")
        _plain_ticks(axes, points)
        axes.set_xlabel(say("forecast.figure.layer"))
        axes.set_ylabel(say("forecast.figure.size"))
        axes.set_title(title or say("forecast.figure.title"))
        axes.margins(x=0.03, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2)
        return picture(figure, title or say("forecast.figure.title"), _description(points))


def _points(subject: Forecast | Comparison) -> list[Point]:
    if isinstance(subject, Comparison):
        on_path = [s for s in subject.sites if s.forecast.entry.on_path]
        chosen = [s for s in on_path if s.forecast.effect == "weights"] or on_path
        return [Point(s.expected, s.low, s.high, s.measured, s.within) for s in chosen]
    sites = [s for s in subject.path if s.effect == "weights"] or list(subject.path)
    return [Point(s.backward_rms, s.low, s.high, math.nan, True) for s in sites]


def _band(axes: Axes, points: Sequence[Point]) -> None:
    shown = [(i, p) for i, p in enumerate(points, 1) if 0 < p.expected < math.inf]
    x = [i for i, _ in shown]
    axes.fill_between(x, [p.low for _, p in shown], [p.high for _, p in shown], color=FORWARD, alpha=0.18, linewidth=0)
    axes.plot(x, [p.expected for _, p in shown], color=FORWARD, label=say("forecast.figure.theory"))


def _measured(axes: Axes, points: Sequence[Point], seeds: int) -> None:
    label = say("forecast.figure.measured_seeds", seeds=seeds) if seeds > 1 else say("forecast.figure.measured")
    size = 4.5 if len(points) <= _FEW else 3
    for inside, marker in ((True, "o"), (False, "X")):
        shown = [(i, p.measured) for i, p in enumerate(points, 1) if p.within is inside and 0 < p.measured < math.inf]
        if shown:
            name = label if inside else f"{label}: {say('forecast.measured.miss')}"
            places, sizes = [i for i, _ in shown], [y for _, y in shown]
            larger = size if inside else size + 3
            axes.plot(places, sizes, marker, color=BACKWARD if inside else INK, markersize=larger, label=name)


def _plain_ticks(axes: Axes, points: Sequence[Point]) -> None:
    """Within a decade 0.7 reads better than 7×10⁻¹."""
    shown = [v for p in points for v in (p.low, p.high, p.measured) if 0 < v < math.inf]
    if max(shown) < 10 * min(shown):
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter(lambda value, _place: written(value, 2))


def _formats(axes: Axes, points: Sequence[Point]) -> None:
    """A line where a format's normal range ends, if the values come near it; named at the end that is farther off."""
    low = min(v for p in points for v in (p.low, p.measured) if v > 0)
    for name, smallest in UNDERFLOW.items():
        if low <= smallest * 10:
            first, last = (
                abs(math.log(p.expected / smallest)) if p.expected else math.inf for p in (points[0], points[-1])
            )
            axes.axhline(smallest, color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
            axes.annotate(
                say("figures.depth.underflow", format=name),
                (0.01 if first > last else 0.99, smallest),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                xytext=(0, 3),
                ha="left" if first > last else "right",
                fontsize=8,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )


def _description(points: Sequence[Point]) -> str:
    seen = [p for p in points if not math.isnan(p.measured)]
    return say(
        "forecast.figure.description",
        sites=len(points),
        last=written(points[-1].expected),
        first=written(points[0].expected),
        inside=sum(p.within for p in seen),
        measured=len(seen),
    )
