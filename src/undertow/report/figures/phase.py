"""The phase diagram: for which weights and biases the gradient vanishes, explodes, and trains how deep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.report.activations.choices import Choice, choices
from undertow.report.figures.style import INK, MUTED, PALETTE, Picture, canvas, picture, styled
from undertow.theory import critical_curve
from undertow.theory.function import Function, pointwise
from undertow.theory.phases import LEAST, MOST, Phases, phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

COLUMNS, ROWS = 121, 81
"""Of the grid that is computed."""
DEPTHS = (10, 30, 100, 300)
"""Trainable depths that have a line."""
LEAP = 1.0
"""A leap: ln q differs by more between neighbours.  Chosen by eye."""
ORDERED, CHAOTIC, HATCH = "#d7e8f4", "#fbe3d2", "#e8b48f"
MARKERS = ("o", "s", "D", "^", "v")


def phase_diagram(act: Function, chosen: Sequence[Choice] | None = None) -> Picture:
    """The plane of σ_w² and σ_b²: ordered and chaotic, the critical line, lines of equal trainable depth; SVG text.

    From inputs of variance 1.  The critical line is dashed where the variance on it repels (χ∥ > 1).  `chosen` are
    initialisations to mark, by default the usual ones.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`.
    """
    single = pointwise(act)
    marked = choices(single) if chosen is None else list(chosen)
    wide, high, curve = _extent(single, marked)
    plane = phases(single, np.linspace(0, wide, COLUMNS + 1)[1:], np.linspace(0, high, ROWS))
    title = say("figures.phase.title", name=single.label)
    with styled():
        figure, (axes,) = canvas(width=7.4, height=5.2)
        regions = _regions(axes, plane)
        _depths(axes, plane)
        _line(axes, curve)
        _marks(axes, marked)
        axes.set_xlim(0, wide)
        axes.set_ylim(-0.012 * high, high)
        axes.set_xlabel(say("figures.phase.weights"))
        axes.set_ylabel(say("figures.phase.biases"))
        axes.set_title(title)
        axes.grid(False)
        figure.legend(handles=[*regions, *axes.get_legend_handles_labels()[0]], loc="outside lower center", ncols=2)
        return picture(figure, title, _description(marked, single.label))


def _extent(act: Function, marked: Sequence[Choice]) -> tuple[float, float, np.ndarray]:
    """The plane's width and height, and the feasible critical points (σ_w², σ_b², χ∥ ≤ 1) by q."""
    points = [p for p in critical_curve(act, np.geomspace(1e-6, 1e3, 400)) if p.feasible and p.sigma_w2 < 1e6]
    curve = np.array([(p.sigma_w2, max(p.sigma_b2, 0.0), p.holds) for p in points]).reshape(-1, 3)
    wide = 1.25 * max(c.found.sigma_w2 for c in marked)
    inside = curve[curve[:, 0] < wide, 1]
    marks = 1.6 * max(c.found.sigma_b2 for c in marked)
    high = marks if marks > 0.01 else float(inside.max(initial=0.0))
    return wide, max(high, 0.1), curve


def _regions(axes: Axes, plane: Phases) -> list[Patch]:
    from matplotlib.patches import Patch

    chaotic = (plane.chi_perp > 1).astype(float)
    axes.contourf(plane.sigma_w2, plane.sigma_b2, chaotic, levels=[-0.5, 0.5, 1.5], colors=[ORDERED, CHAOTIC])
    endless = np.isinf(plane.q).astype(float)
    handles = [
        Patch(facecolor=ORDERED, label=say("figures.phase.ordered")),
        Patch(facecolor=CHAOTIC, label=say("figures.phase.chaotic")),
    ]
    if endless.any():
        hatched = axes.contourf(
            plane.sigma_w2, plane.sigma_b2, endless, levels=[0.5, 1.5], colors="none", hatches=["///"]
        )
        hatched.set(edgecolor=HATCH, linewidth=0)
        label = say("figures.phase.endless")
        handles.append(Patch(facecolor=CHAOTIC, label=label, hatch="///", edgecolor=HATCH, linewidth=0))
    return handles


def _depths(axes: Axes, plane: Phases) -> None:
    lines = axes.contour(
        plane.sigma_w2,
        plane.sigma_b2,
        np.ma.masked_where(_torn(plane.q), np.log10(np.minimum(plane.trainable_depth, 1e6))),
        levels=np.log10(DEPTHS),
        colors=MUTED,
        linewidths=0.8,
    )
    axes.clabel(lines, fmt=lambda level: f"{10**level:.0f}", fontsize=8, inline=True)


def _torn(q: np.ndarray) -> np.ndarray:
    """Where the variance leaps from one point of the grid to the next: no line of equal depth runs there."""
    size = np.log(np.clip(q, LEAST, MOST))
    torn = np.zeros(q.shape, bool)
    for axis in (0, 1):
        leap = np.abs(np.diff(size, axis=axis)) > LEAP
        first, second = (np.take(torn, range(s, q.shape[axis] - 1 + s), axis) for s in (0, 1))
        pad = [(0, 1), (0, 0)] if axis == 0 else [(0, 0), (0, 1)]
        torn |= np.pad(leap | first, pad) | np.pad(leap | second, [p[::-1] for p in pad])
    return torn


def _line(axes: Axes, curve: np.ndarray) -> None:
    if np.ptp(curve[:, 1]) < 1e-9:  # a homogeneous function: critical at every variance, hence with any biases
        curve = np.array([[curve[0, 0], 0.0, 1.0], [curve[0, 0], axes.get_ylim()[1], 1.0]])
    for holds, dashes, key in ((1.0, "-", "critical"), (0.0, (0, (4, 2)), "repelling")):
        there = curve[:, 2] == holds
        if there.any():
            x, y = (np.where(there, column, np.nan) for column in curve.T[:2])
            axes.plot(x, y, color=INK, linestyle=dashes, label=say(f"figures.phase.{key}"))


def _marks(axes: Axes, marked: Sequence[Choice]) -> None:
    for choice, colour, marker in zip(marked, PALETTE, MARKERS, strict=False):
        axes.plot(
            choice.found.sigma_w2,
            choice.found.sigma_b2,
            color=colour,
            marker=marker,
            markersize=7,
            markeredgecolor="white",
            linestyle="",
            label=choice.title,
            clip_on=False,
            zorder=5,
        )


def _description(marked: Sequence[Choice], name: str) -> str:
    facts = " ".join(
        say(
            "figures.phase.fact",
            name=c.title,
            weights=written(c.found.sigma_w2, 4),
            biases=written(c.found.sigma_b2, 3),
            factor=written(c.found.per_layer, 4),
        )
        for c in marked
    )
    return say("figures.phase.description", name=name, facts=facts)
