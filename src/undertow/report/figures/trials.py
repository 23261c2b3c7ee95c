"""Trials: the metric and the loss against the step, for the untouched control and for the cures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from undertow.cures import Verdicts
from undertow.foundation import InputError, say
from undertow.report.figures.style import MUTED, PALETTE, Picture, canvas, picture, styled
from undertow.report.metrics import metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, float]]
_SHOWN = 5
"""Cures in one figure: more lines than colours that are told apart at a glance would hide the point."""
_SMOOTHING = 0.02
"""The moving mean's window as a share of the steps, so that single batches don't hide the trend; chosen by eye."""
_WIDE_RANGE = 30.0
"""A largest median loss over the smallest from which on a log scale shows more than a linear one; chosen by eye."""


def trials(verdicts: Verdicts, cures: Sequence[str] | None = None, title: str | None = None) -> Picture:
    """Metric (where it was taken on the way) and loss against step: the median over the seeds as a line, smallest to
    largest seed as a band; SVG text.

    `cures` names those to draw; without it the control and the first five verdicts with curves are drawn.  Losses are
    smoothed with a moving mean over 2 % of the steps.  What is not finite ends its line, with a cross.
    """
    chosen = [verdicts[name] for name in cures] if cures else [v for v in verdicts if v.curves][:_SHOWN]
    if not verdicts.control_curves and not chosen:
        raise InputError("verdicts without a loss curve", "at least one trial that ran", "ut.cure(make)")
    taken = any(verdicts.control_metrics) or any(any(v.metrics) for v in chosen)
    with styled():
        figure, panels = canvas(1 + taken, width=7.2 + 3.6 * taken, height=3.9)
        control = say("figures.trials.control")
        lines = [(control, verdicts.control_metrics, verdicts.control_curves, MUTED, True)]
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(chosen))]
        lines += [(f"{v.cure}: {v.says}", v.metrics, v.curves, c, False) for v, c in zip(chosen, colours, strict=True)]
        for label, metrics, losses, colour, dashed in lines:
            if taken:
                _band(panels[0], label, metrics, colour, dashed)
            _band(panels[-1], label, [_smooth(curve) for curve in losses], colour, dashed)
        if _wide(panels[-1]):
            panels[-1].set_yscale("log")
        for axes, name in zip(panels[::-1], (say("figures.trials.loss"), metric_name(verdicts)), strict=False):
            axes.set_xlabel(say("figures.trials.step"))
            axes.set_ylabel(name)
        panels[0].set_title(title or say("figures.trials.title"))
        handles = {name: line for a in panels[::-1] for line, name in zip(*a.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        names = ", ".join(v.cure for v in chosen)
        text = say("figures.trials.description", cures=names, seeds=len(verdicts.seeds), steps=verdicts.steps)
        return picture(figure, title or say("figures.trials.title"), text)


def _band(axes: Axes, label: str, seeds: Sequence[Points], colour: str, dashed: bool) -> None:
    """Median and range over the seeds at each step that all seeds reached with a finite number."""
    finite = [_finite(points) for points in seeds]
    count = min(map(len, finite), default=0)
    if not count:
        return
    x = [step for step, _ in finite[0][:count]]
    columns = [sorted(p[i][1] for p in finite) for i in range(count)]
    middle = [(c[(len(c) - 1) // 2] + c[len(c) // 2]) / 2 for c in columns]
    axes.plot(x, middle, color=colour, label=label, linestyle="--" if dashed else "-", linewidth=1.8)
    axes.fill_between(x, [c[0] for c in columns], [c[-1] for c in columns], color=colour, alpha=0.18, linewidth=0)
    if any(len(points) > count for points in seeds):
        axes.plot(x[-1:], middle[-1:], color=colour, marker="x", markersize=8, markeredgewidth=2)


def _finite(points: Points) -> Points:
    """The points up to the first that is not finite."""
    return points[: next((i for i, (_, value) in enumerate(points) if not math.isfinite(value)), len(points))]


def _smooth(curve: Sequence[float]) -> Points:
    """(step, mean of the last losses); from the first that is not finite on as they are."""
    window = max(1, round(_SMOOTHING * len(curve)))
    end = next((i for i, value in enumerate(curve) if not math.isfinite(value)), len(curve))
    return [(i + 1, fmean(curve[max(i + 1 - window, 0) : i + 1]) if i < end else v) for i, v in enumerate(curve)]


def _wide(axes: Axes) -> bool:
    values = [float(v) for line in axes.lines for v in line.get_ydata()]  # type: ignore[union-attr]
    return min(values, default=0.0) > 0 and max(values) / min(values) > _WIDE_RANGE
