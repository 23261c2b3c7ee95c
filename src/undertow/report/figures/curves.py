"""Function and derivatives of activations: kinks, steepest point and asymptotes marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undertow.activations import Pointwise, activation
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
_OTHERS = (0.0, 1.0)
"""The fixed elements beside the one that a function of several, as softmax, is drawn against."""

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


def curves(
    names: str | Any | Sequence[str | Any], low: float = -6.0, high: float = 6.0, second: bool = False
) -> Picture:
    """f, f′ (and f″, thin, where one activation is shown) over [low, high]; SVG text.

    `names` is an activation, its name, or several of them, which are then overlaid; `second` draws f″ beside f′.
    FReLU is drawn as max(x, t) for three window responses t, a function that couples elements as its outputs over
    one element with the others fixed.

    Raises
    ------
    UnknownNameError
        If no activation has such a name.
    InputError
        If nothing is named, or low is not below high.
    """
    given = [names] if isinstance(names, str) or not isinstance(names, Sequence) else list(names)
    if not given or not low < high:
        raise InputError(
            f"{len(given)} names over [{low}, {high}]",
            "at least one name and low < high",
            "curves('gelu', low=-6, high=6)",
        )
    found = [activation(n) if isinstance(n, str) else n for n in given]
    lines = [line for act in found for line in lines_of(act)]
    title = say("figures.curves.title", names=", ".join(dict.fromkeys(a.name for a in found)))
    with styled():
        figure, axes = canvas(2 + second, width=9.2 + 4.2 * second, height=3.9)
        x = torch.linspace(low, high, _POINTS, dtype=torch.float64).round(decimals=12) + 0.0  # never −0
        for i, line in enumerate(lines):
            _draw(axes, line, x, PALETTE[i % len(PALETTE)], _DASHES[i % len(_DASHES)], alone=len(lines) == 1)
        name = f"{found[0].name}: " if len(found) == 1 else ""
        for panel, what in zip(axes, ("function", "derivative", "second"), strict=False):
            _frame(panel, name + say(f"figures.curves.{what}"), lines[0].axis)
        if len(lines) > 1:
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(lines), 4))
        return picture(figure, title, _description(lines, x))


def _description(lines: Sequence[Curve], x: Tensor) -> str:
    facts = " ".join(
        say("figures.curves.fact", name=line.name, value=value, where=where)
        for line in lines
        for where, value in _steepest(line, x)
    )
    low, high = written(x[0].item()), written(x[-1].item())
    return say(
        "figures.curves.description", low=low, high=high, facts=facts, names=", ".join(line.name for line in lines)
    )


def lines_of(act: Any) -> list[Curve]:
    """The lines that stand for an activation."""
    if act.name == "frelu":
        return [_funnel(t) for t in _WINDOWS]
    if not isinstance(act, Pointwise):
        return _coupled(act)
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


def _coupled(act: Any) -> list[Curve]:
    """The outputs over the first of three elements; over the second of two where an odd number can't be split."""
    try:
        outputs = act(torch.zeros(1, 1 + len(_OTHERS), dtype=torch.float64)).shape[-1]
        others, first = _OTHERS, True
    except InputError:
        outputs = act(torch.zeros(1, 2, dtype=torch.float64)).shape[-1]
        others, first = _OTHERS[-1:], False
    return [_output(act, i, others, first) for i in range(outputs)]


def _output(act: Any, index: int, others: tuple[float, ...], first: bool) -> Curve:
    """act(x, 0, 1)ᵢ or act(1, x)ᵢ, and its derivatives with respect to x by autograd."""

    def f(x: Tensor) -> Tensor:
        fixed = [torch.full_like(x, o) for o in others]
        return act(torch.stack([x, *fixed] if first else [*fixed, x], -1))[..., index]

    return Curve(
        say("figures.curves.output", name=act.name, index=index + 1),
        f,
        _slope(f),
        _slope(_slope(f)),
        axis=say("figures.curves.coupled_axis", others=", ".join(written(o) for o in others)),
    )


def _slope(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """df/dx for a function that acts on each element by itself."""

    def slope(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            y = f(x).sum()  # a derivative of straight pieces no longer depends on x
            return torch.autograd.grad(y, x, create_graph=True)[0] if y.requires_grad else torch.zeros_like(x)

    return slope


def _draw(axes: Sequence[Axes], line: Curve, x: Tensor, colour: str, dashes: Any, alone: bool) -> None:
    (left, right), third = axes[:2], axes[2:]
    left.plot(x.tolist(), line.f(x).detach().tolist(), color=colour, linestyle=dashes, label=line.name)
    right.plot(x.tolist(), _broken(line.df(x), x, line.kinks), color=colour, linestyle=dashes, label="f′")
    for panel in third:
        panel.plot(x.tolist(), _broken(line.d2f(x), x, line.kinks), color=colour, linestyle=dashes)
    if alone and not third:
        second = _broken(line.d2f(x), x, line.kinks)
        right.plot(x.tolist(), second, color=PALETTE[1], linewidth=1.0, label=say("figures.curves.second"))
        right.legend(loc="upper left")
    if alone:
        _asymptotes(left, line, x)
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
