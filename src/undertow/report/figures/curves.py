"""Function and derivatives of activations: kinks, steepest point and asymptotes marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.report.figures.style import GRID, INK, MUTED, PALETTE, Picture, canvas, picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 2401
"""Odd, so that a symmetric range has a point at 0, and fine enough for three digits of a steepest value."""
_PLATEAU = 0.02
"""A steepest slope that holds on more than this share of the range is a line, not a point to mark; chosen by eye."""
_FAR = (40.0, 80.0)
"""Where a function that has a straight asymptote is taken to have reached it: e⁻⁴⁰ is 4·10⁻¹⁸, below float64's ε."""
_WINDOWS = (-1.5, 0.0, 1.5)
"""Window responses T(x) for which FReLU's max(x, T(x)) is drawn: one below, one at and one above zero."""
_OTHER_LOGITS = (0.0, 1.0)
"""The fixed logits beside the one that softmax is drawn against."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
"""So that a line which lies on another one still shows it."""


@dataclass(frozen=True)
class Curve:
    """One line of the figure: a function of one number, with its derivatives."""

    name: str
    f: Callable[[Tensor], Tensor]
    df: Callable[[Tensor], Tensor]
    d2f: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    axis: str = "x"


def curves(names: str | Any | Sequence[str | Any], low: float = -6.0, high: float = 6.0) -> Picture:
    """f, f′ (and f″, thin, where one activation is shown) over [low, high]; SVG text.

    `names` is an activation, its name, or several of them, which are then overlaid.  FReLU is drawn as max(x, t) for
    three window responses t, softmax as its outputs over one logit with the others fixed at 0 and 1.

    Raises
    ------
    UnknownNameError
        If no activation has such a name.
    InputError
        If nothing is named, or low is not below high.
    """
    from undertow.activations import activation

    given = [names] if isinstance(names, str) or not isinstance(names, Sequence) else list(names)
    if not given or not low < high:
        raise InputError(
            f"{len(given)} names over [{low}, {high}]",
            "at least one name and low < high",
            "curves('gelu', low=-6, high=6)",
        )
    found = [activation(n) if isinstance(n, str) else n for n in given]
    lines = [line for act in found for line in _lines(act)]
    title = say("figures.curves.title", names=", ".join(dict.fromkeys(a.name for a in found)))
    with styled():
        figure, (left, right) = canvas(2, width=9.2, height=3.9)
        x = torch.linspace(low, high, _POINTS, dtype=torch.float64).round(decimals=12) + 0.0  # never −0
        for i, line in enumerate(lines):
            _draw(left, right, line, x, PALETTE[i % len(PALETTE)], _DASHES[i % len(_DASHES)], alone=len(lines) == 1)
        name = f"{found[0].name}: " if len(found) == 1 else ""
        _frame(left, name + say("figures.curves.function"), lines[0].axis)
        _frame(right, name + say("figures.curves.derivative"), lines[0].axis)
        if len(lines) > 1:
            figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(lines), 4))
        facts = " ".join(
            say("figures.curves.fact", name=line.name, value=value, where=where)
            for line in lines
            for where, value in _steepest(line, x)
        )
        about = say(
            "figures.curves.description",
            low=written(low),
            high=written(high),
            facts=facts,
            names=", ".join(line.name for line in lines),
        )
        return picture(figure, title, about)


def _lines(act: Any) -> list[Curve]:
    if act.name == "frelu":
        return [_funnel(t) for t in _WINDOWS]
    if act.name == "softmax":
        return [_softmax_output(act, i) for i in range(1 + len(_OTHER_LOGITS))]
    return [Curve(act.name, act, act.derivative, act.second_derivative, tuple(float(k) for k in act.kinks))]


def _funnel(t: float) -> Curve:
    """max(x, t): FReLU at one pixel whose window gives t."""
    return Curve(
        say("figures.curves.window", value=t),
        lambda x: x.clamp(min=t),
        lambda x: (x > t).to(x),
        torch.zeros_like,
        (t,),
        say("figures.curves.frelu_axis"),
    )


def _softmax_output(act: Any, index: int) -> Curve:
    """softmax(x, 0, 1)ᵢ, and its derivatives with respect to x by autograd."""

    def f(x: Tensor) -> Tensor:
        others = [torch.full_like(x, o) for o in _OTHER_LOGITS]
        return act(torch.stack([x, *others], -1))[..., index]

    others = ", ".join(written(o) for o in _OTHER_LOGITS)
    return Curve(
        say("figures.curves.output", index=index + 1),
        f,
        _slope(f),
        _slope(_slope(f)),
        axis=say("figures.curves.softmax_axis", others=others),
    )


def _slope(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """df/dx for a function that acts on each element by itself."""

    def slope(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            return torch.autograd.grad(f(x).sum(), x, create_graph=True)[0]

    return slope


def _draw(left: Axes, right: Axes, line: Curve, x: Tensor, colour: str, dashes: Any, alone: bool) -> None:
    axis = x.tolist()
    left.plot(axis, line.f(x).detach().tolist(), color=colour, linestyle=dashes, label=line.name)
    right.plot(axis, _broken(line.df(x), x, line.kinks), color=colour, linestyle=dashes, label="f′")
    if alone:
        second = _broken(line.d2f(x), x, line.kinks)
        right.plot(axis, second, color=PALETTE[1], linewidth=1.0, label=say("figures.curves.second"))
        _asymptotes(left, line, x)
        right.legend(loc="upper left")
    _mark_kinks(left, line, x, colour)
    _mark_steepest(right, line, x, colour, alone)


def _broken(y: Tensor, x: Tensor, kinks: Sequence[float]) -> list[float]:
    """The values with a gap at each kink, where the derivative jumps."""
    y = y.detach().clone()
    for kink in kinks:
        y[(x - kink).abs().argmin()] = torch.nan
    return y.tolist()


def _mark_kinks(axes: Axes, line: Curve, x: Tensor, colour: str) -> None:
    inside = [k for k in line.kinks if x[0] < k < x[-1]]
    at = line.f(torch.tensor(inside, dtype=x.dtype)).detach().tolist() if inside else []
    axes.plot(
        inside, at, color=colour, linestyle="", marker="o", markersize=7, markerfacecolor="white", markeredgewidth=1.6
    )
    for k, y in zip(inside, at, strict=True):
        axes.annotate(
            say("figures.curves.kink", where=written(k)),
            (k, y),
            textcoords="offset points",
            xytext=(8, -14),
            fontsize=8.5,
            color=MUTED,
        )


def _steepest(line: Curve, x: Tensor) -> list[tuple[str, str]]:
    """Where |f′| is largest and f′ there, as text; nothing where the slope is largest along a whole stretch."""
    slope = line.df(x).detach()
    peak = int(slope.abs().argmax())
    plateau = (slope.abs() >= slope.abs().max() * (1 - 1e-9)).double().mean() > _PLATEAU
    return [] if plateau or peak in (0, len(x) - 1) else [(written(float(x[peak])), written(float(slope[peak])))]


def _mark_steepest(axes: Axes, line: Curve, x: Tensor, colour: str, alone: bool) -> None:
    for where, value in _steepest(line, x):
        slope = line.df(x).detach()
        peak = int(slope.abs().argmax())
        axes.plot([float(x[peak])], [float(slope[peak])], color=colour, marker="o", markersize=5)
        label = say("figures.curves.steepest", value=value, where=f"x = {where}") if alone else value
        axes.annotate(
            label,
            (float(x[peak]), float(slope[peak])),
            textcoords="offset points",
            xytext=(8, 3 if slope[peak] > 0 else -12),
            fontsize=9,
            color=colour,
        )


def _asymptotes(axes: Axes, line: Curve, x: Tensor) -> None:
    """y = m x + c that the function approaches but does not follow exactly, left and right."""
    for side in (-1.0, 1.0):
        far = torch.tensor([side * d for d in _FAR], dtype=x.dtype)
        near_y, far_y = line.f(far).detach().tolist()
        slope = (far_y - near_y) / float(far[1] - far[0])
        constant = near_y - slope * float(far[0])
        check = float(line.f(2 * far[1:]).detach()) - (slope * 2 * float(far[1]) + constant)
        half = x[x * side > 0]
        followed = (line.f(half).detach() - slope * half - constant).abs().max() < 1e-9 if len(half) else True
        if abs(check) < 1e-6 and not followed:
            axes.plot(
                [float(half[0]), float(half[-1])],
                [slope * float(h) + constant for h in (half[0], half[-1])],
                color=INK,
                linewidth=1,
                linestyle=(0, (1, 2)),
            )


def _frame(axes: Axes, title: str, x_label: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.axhline(0, color=GRID, linewidth=1.6, zorder=0.5)
    axes.axvline(0, color=GRID, linewidth=1.6, zorder=0.5)
    axes.margins(x=0.02, y=0.12)
