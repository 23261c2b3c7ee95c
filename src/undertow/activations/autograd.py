"""Autograd over the ladder f → f′ → f″: the backward pass of f is f′ itself, not the derivative of f's operations.

torch's own backward of sigmoid is y(1 − y), which is exactly 0 from x = 16.6 in float32 where f′ is still 6e-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from undertow.activations.kinds import rounded_once, widened


class Ladder(Protocol):
    """Three elementwise functions, each the derivative of the one before it."""

    def f(self, x: Tensor) -> Tensor: ...
    def df(self, x: Tensor) -> Tensor: ...
    def d2f(self, x: Tensor) -> Tensor: ...


def rung(ladder: Ladder, order: int, x: Tensor) -> Tensor:
    """The derivative of this order (0, 1, 2) at x, itself differentiable by the next rung."""
    if order == 2:  # from here on torch differentiates the operations of f″
        return rounded_once(ladder.d2f, x)
    y = _Rung.apply(x, ladder, order)
    assert isinstance(y, Tensor)
    return y


class _Rung(torch.autograd.Function):
    """y_i = f⁽ᵒʳᵈᵉʳ⁾(x_i), with the next rung as its derivative; saves x only."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, ladder: Ladder, order: int) -> Tensor:
        return rounded_once(ladder.df if order else ladder.f, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.ladder, ctx.order = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Rung._times_slope(ctx, grads[0]), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _Rung._times_slope(ctx, tangents[0])

    @staticmethod
    def _times_slope(ctx: Any, g: Tensor) -> Tensor:
        x = ctx.saved_tensors[0]
        return (widened(g) * rung(ctx.ladder, ctx.order + 1, widened(x))).to(g.dtype)


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f′(x_i) of an elementwise function by automatic differentiation, itself differentiable."""
    primal = torch.func.vjp(function, x)
    y, pull = primal[0], primal[1]
    return pull(torch.ones_like(y))[0]
