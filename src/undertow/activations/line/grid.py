"""An activation on the real line: its values and slopes in plain float64, and the points where it is looked at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from undertow.activations.base import Activation, Pointwise
from undertow.foundation import InputError

Function = Callable[[Tensor], Tensor]

FAR = 1e4
"""How far out "at the end" is.  Our choice: an algebraic tail 1/x² has left 1e-8 there."""


def on_the_line(act: Activation, example: str) -> Pointwise:
    """The activation with its tensors detached, in float64.

    Raises
    ------
    InputError
        For an activation that couples elements (softmax, the funnel): it has no one f′ of one x.
    """
    if not isinstance(act, Pointwise):
        raise InputError(f"{act.name}, which couples several elements", "a pointwise activation", example)
    detached = {n: v.detach().double().cpu() for n, v in act.tensors.items()}
    return dataclasses.replace(act, **detached) if detached else act  # pyright: ignore[reportArgumentType]


def channels(act: Pointwise) -> int:
    return act.channels


def function(act: Pointwise, order: int) -> Function:
    """f⁽ᵒʳᵈᵉʳ⁾ of a tensor of shape (n, channels), as the definition has it: a scan needs many points, not the last
    digit, which `evaluate` would take wider arithmetic to get."""

    def of(x: Tensor) -> Tensor:
        placed = act.placed(x)
        return (placed.f, placed.df, placed.d2f)[order](x)

    return of


def grid(act: Pointwise) -> Tensor:
    """Points of the whole line in order, shape (n, channels)."""
    near = torch.arange(-2000, 2001, dtype=torch.float64) / 100
    far = torch.logspace(-8, math.log10(FAR), 1201, dtype=torch.float64)  # 100 points a decade
    kinks = torch.tensor(act.kinks, dtype=torch.float64)
    x = torch.cat([near, far, -far, kinks, kinks - 1e-9, kinks + 1e-9]).unique()
    return x.unsqueeze(1).expand(-1, act.channels)


def beside(point: float, side: int) -> float:
    """A number just to this side of a point, past the roundings with which a kink may be written."""
    return point + side * max(4 * math.ulp(point), 1e-300)
