"""The race: the metric of each change at the steps where it was taken, until it stopped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from undertow.cures import Verdicts
from undertow.cures.search.race import Lane
from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.report.figures.style import MUTED, PALETTE, Picture, canvas, picture, styled
from undertow.report.metrics import metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 4
"""Lanes with a name and a colour of their own; the others show how many there were."""


def race(verdicts: Verdicts, title: str | None = None) -> Picture:
    """Metric against step (log scale) of the changes that raced; those that came furthest are named.  SVG text.

    A cross ends a lane whose training failed.
    """
    ran = [lane for lane in verdicts.raced if lane.metrics]
    if not ran:
        raise InputError("verdicts without a race", "a search in which changes raced", "ut.cure(make)")
    with styled():
        figure, (axes,) = canvas(height=3.3)
        for lane in reversed(ran[_NAMED:]):
            _line(axes, lane, MUTED, thin=True)
        for lane, colour in reversed(list(zip(ran, PALETTE[:_NAMED], strict=False))):
            _line(axes, lane, colour)
        axes.set_xscale("log")
        steps = sorted({step for lane in ran for step in lane.metrics})
        axes.set_xticks(steps, labels=[written(float(step)) for step in steps])
        axes.minorticks_off()
        axes.set_xlabel(say("figures.trials.step"))
        axes.set_ylabel(metric_name(verdicts))
        heading = title or say("figures.race.title", count=len(ran))
        axes.set_title(heading)
        lines, names = axes.get_legend_handles_labels()
        figure.legend(lines[::-1], names[::-1], loc="outside lower center", ncols=2)
        return picture(figure, heading, say("figures.race.description", count=len(ran), cure=ran[0].cure.label))


def _line(axes: Axes, lane: Lane, colour: str, thin: bool = False) -> None:
    points = [(step, value) for step, value in sorted(lane.metrics.items()) if math.isfinite(value)]
    if not points:
        return
    x, y = zip(*points, strict=True)
    width, alpha, label = (0.8, 0.45, "_") if thin else (1.8, 1.0, lane.cure.label)
    axes.plot(x, y, color=colour, linewidth=width, alpha=alpha, label=label, marker="o", markersize=3 if thin else 5)
    if lane.reason:
        axes.plot(x[-1:], y[-1:], color=colour, alpha=alpha, marker="x", markersize=8, markeredgewidth=2)
