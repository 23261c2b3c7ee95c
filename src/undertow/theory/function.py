"""Which function of one number is meant: a name, a definition, a module, or any callable of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from undertow.activations import Activation, Custom, Pointwise, activation, recognise
from undertow.activations.line.grid import function, on_the_line
from undertow.foundation import InputError
from undertow.native.pointwise import has

Function = str | Activation | nn.Module | Callable[[Tensor], Tensor]
"""What theory takes for an activation."""

SEARCHED, FINE = 24.0, 0.01
"""Kinks are searched within ±SEARCHED, on points FINE apart.  Our choice; declare those that lie further out."""
DEFINED = 8.0
"""Standard normal numbers beyond it are rarer than 10⁻¹⁵."""
HALVINGS = 45
JUMP = 1e-5
"""What is left of a difference when its interval is halved HALVINGS times, as a share of the function's size.  A
smooth function leaves rounding.  Our choice."""


def pointwise(act: Function, kinks: Sequence[float] | None = None) -> Pointwise:
    """The function on the line, in float64, its tensors detached.

    A callable that is no known activation becomes one: its derivative by automatic differentiation, its kinks as
    given or, by default, found where f, f′ or f″ jumps.

    Raises
    ------
    UnknownNameError, InputError
        For the name of no activation; for what is no function of one number (softmax, the funnel, a layer).
    """
    if kinks is not None:
        return _custom(act, tuple(float(k) for k in kinks))
    if isinstance(act, (str, Activation)):
        return _line(activation(act))
    known = recognise(act) if isinstance(act, nn.Module) else _known(act) if callable(act) else activation(act)
    if isinstance(known, Custom):
        _defined(known)
    return _line(known) if known is not None else _custom(act, None)


def _line(act: Activation) -> Pointwise:
    """Detached, and one number a number instead of a tensor, so that what is computed of it can be kept."""
    single = on_the_line(act, "moments('relu')")
    numbers: Any = {n: v.item() for n, v in single.tensors.items() if v.numel() == 1 and n not in single.vectors}
    return dataclasses.replace(single, **numbers) if numbers else single  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=256)
def _known(called: Callable[[Tensor], Tensor]) -> Activation | None:
    return recognise(called)


def _custom(act: Function, kinks: tuple[float, ...] | None) -> Pointwise:
    mapping: Any = activation(act) if isinstance(act, str) else act
    if isinstance(act, nn.Module) and next(act.parameters(), None) is not None:
        got = f"a module {type(act).__name__} with weights"
        raise InputError(got, "an activation, or a function of one number", "moments(lambda x: x * torch.sin(x))")
    own = Custom(getattr(act, "__name__", type(act).__name__), mapping, kinks or ())
    _defined(own)
    if kinks is not None:
        return own
    return Custom(own.name, mapping, _found_once(own))


@lru_cache(maxsize=256)
def _defined(act: Pointwise) -> None:
    """Raises InputError for a function that is not defined everywhere, as the logarithm."""
    x = torch.linspace(-DEFINED, DEFINED, 101, dtype=torch.float64)
    with torch.no_grad():
        undefined = _plain(act, 0)(x).isnan()
    if undefined.any():
        got = f"{act.name}, which is NaN at {float(x[undefined][0]):g}"
        expected = "a function of every real number, for pre-activations are normal"
        raise InputError(got, expected, "lambda x: torch.log1p(x.abs())")


@lru_cache(maxsize=256)
def _found_once(act: Custom) -> tuple[float, ...]:
    return find_kinks(act)


def find_kinks(act: Pointwise) -> tuple[float, ...]:
    """Where f, f′ or f″ jumps within ±24, to 1e-13; by halving every interval of a grid towards its larger difference.

    Of a smooth function the difference over an interval goes with its width; a jump stays.
    """
    with torch.no_grad():
        edges = torch.arange(-SEARCHED, SEARCHED + FINE, FINE, dtype=torch.float64) + FINE * 0.382  # kinks are round
        found = [_jumps(_plain(act, order), edges) for order in (0, 1, 2)]
    places = sorted(round(x, 12) + 0.0 for xs in found for x in xs)
    return tuple(x for x, before in zip(places, [None, *places], strict=False) if before is None or x - before > 1e-9)


def _plain(act: Pointwise, order: int) -> Callable[[Tensor], Tensor]:
    of = function(act, order)
    return lambda x: of(x.unsqueeze(1)).squeeze(1)


def _jumps(g: Callable[[Tensor], Tensor], edges: Tensor) -> list[float]:
    y = g(edges)
    least = JUMP * y[y.isfinite()].abs().median().clamp(min=1e-3)
    low, high, at_low, at_high = edges[:-1], edges[1:], y[:-1], y[1:]
    for _ in range(HALVINGS):
        step = (at_high - at_low).abs()
        jumping = (step > torch.maximum(least, JUMP * at_high.abs())) & step.isfinite()
        low, high, at_low, at_high = (t[jumping] for t in (low, high, at_low, at_high))
        middle = (low + high) / 2
        at_middle = g(middle)
        left = (at_middle - at_low).abs() > (at_high - at_middle).abs()
        low, at_low = torch.where(left, low, middle), torch.where(left, at_low, at_middle)
        high, at_high = torch.where(left, middle, high), torch.where(left, at_middle, at_high)
    return ((low + high) / 2).tolist()


def swift(act: Pointwise, order: int) -> Callable[[Tensor], Tensor]:
    """f or f′ of a tensor of any shape, by the compiled kernel or in plain float64: no digits beyond rounding."""
    if act.channels > 1 or (act.name == getattr(type(act), "name", None) and has(act.name, order, torch.float64)):
        return act.derivative if order else act
    return function(act, order)
