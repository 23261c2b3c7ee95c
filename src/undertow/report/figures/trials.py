"""Trials: the loss at each step, for the untouched control and for the cures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING

from undertow.cures import Verdicts
from undertow.foundation import InputError, say
from undertow.report.figures.style import MUTED, PALETTE, Picture, canvas, picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Sequence[Sequence[float]]
_SHOWN = 5
"""Cures in one figure: more lines than colours that are told apart at a glance would hide the point."""
_SMOOTHING = 0.02
"""The moving mean's window as a share of the steps, so that single batches don't hide the trend; chosen by eye."""
_WIDE_RANGE = 30.0
"""A largest median loss over the smallest from which on a log scale shows more than a linear one; chosen by eye."""


def trials(verdicts: Verdicts, cures: Sequence[str] | None = None, title: str | None = None) -> Picture:
    """Loss against step: the median over the seeds as a line, smallest to largest seed as a band; SVG text.

    `cures` names those to draw; without it the control and the first five verdicts with curves are drawn.  Losses are
    smoothed with a moving mean over 2 % of the steps.  A loss that is not finite ends its line, with a cross.
    """
    chosen = [verdicts[name] for name in cures] if cures else [v for v in verdicts if v.curves][:_SHOWN]
    if not verdicts.control_curves and not chosen:
        raise InputError("verdicts without a loss curve", "at least one trial that ran", "ut.cure(make)")
    with styled():
        figure, (axes,) = canvas(height=3.9)
        _band(axes, say("figures.trials.control"), verdicts.control_curves, MUTED, dashed=True)
        for verdict, colour in zip(chosen, [*PALETTE] * len(chosen), strict=False):
            _band(axes, f"{verdict.cure}: {verdict.says}", verdict.curves, colour)
        if _wide(axes):
            axes.set_yscale("log")
        axes.set_xlabel(say("figures.trials.step"))
        axes.set_ylabel(say("figures.trials.loss"))
        axes.set_title(title or say("figures.trials.title"))
        figure.legend(loc="outside lower center", ncols=2)
        names = ", ".join(v.cure for v in chosen)
        return picture(
            figure,
            title or say("figures.trials.title"),
            say("figures.trials.description", cures=names, seeds=len(verdicts.seeds), steps=verdicts.steps),
        )


def _band(axes: Axes, label: str, curves: Curves, colour: str, dashed: bool = False) -> None:
    """Median and range over the seeds at each step that all seeds reached with a finite loss."""
    steps = min((sum(1 for _ in _finite(c)) for c in curves), default=0)
    if not steps:
        return
    window = max(1, round(_SMOOTHING * steps))
    smooth = [_moving_mean(list(islice(c, steps)), window) for c in curves]
    columns = [sorted(values) for values in zip(*smooth, strict=True)]
    x = range(1, steps + 1)
    middle = [(c[(len(c) - 1) // 2] + c[len(c) // 2]) / 2 for c in columns]
    axes.plot(x, middle, color=colour, label=label, linestyle="--" if dashed else "-", linewidth=1.8)
    axes.fill_between(x, [c[0] for c in columns], [c[-1] for c in columns], color=colour, alpha=0.18, linewidth=0)
    if any(len(c) > steps for c in curves):
        axes.plot([steps], [middle[-1]], color=colour, marker="x", markersize=8, markeredgewidth=2)


def _finite(curve: Sequence[float]) -> Sequence[float]:
    """The curve up to its first loss that is not finite."""
    end = next((i for i, v in enumerate(curve) if not math.isfinite(v)), len(curve))
    return curve[:end]


def _moving_mean(values: list[float], window: int) -> list[float]:
    """The mean of the last `window` values at each step."""
    return [fmean(values[max(i + 1 - window, 0) : i + 1]) for i in range(len(values))]


def _wide(axes: Axes) -> bool:
    values = [float(v) for line in axes.lines for v in line.get_ydata()]  # type: ignore[union-attr]
    return min(values, default=0.0) > 0 and max(values) / min(values) > _WIDE_RANGE
