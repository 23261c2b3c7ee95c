"""Autograd over the ladder f → f′ → f″: the backward pass of f is f′ itself, not the derivative of f's operations.

torch's own backward of sigmoid is y(1 − y), which is exactly 0 from x = 16.6 in float32 where f′ is still 6e-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undertow.activations.evaluate import evaluate, evaluate_times, in_torch

if TYPE_CHECKING:
    from undertow.activations.base import Pointwise

LAST = 2
"""From f″ on torch differentiates operations."""


def rung(act: Pointwise, order: int, x: Tensor) -> Tensor:
    """The derivative of this order (0, 1, 2) at x, itself differentiable by the next rung."""
    if order == LAST:
        return in_torch(act, order, x) if _recorded(x) else evaluate(act, order, x)
    if not _recorded(x):
        return evaluate(act, order, x)
    y = _Rung.apply(x, act, order)
    assert isinstance(y, Tensor)
    return y


def times(act: Pointwise, order: int, x: Tensor, g: Tensor) -> Tensor:
    """g · f⁽ᵒʳᵈᵉʳ⁾(x), differentiable in both."""
    if not _recorded(x, g):
        return evaluate_times(act, order, x, g)
    if order == LAST:
        wide = x.double() if x.device.type == "cpu" else x
        return (g.to(wide.dtype) * in_torch(act, order, wide)).to(g.dtype)
    y = _Times.apply(x, g, act, order)
    assert isinstance(y, Tensor)
    return y


def _recorded(*tensors: Tensor) -> bool:
    """Whether anybody may differentiate: reverse mode, forward mode or a function transform."""
    return (
        (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Rung(torch.autograd.Function):
    """y_i = f⁽ᵒʳᵈᵉʳ⁾(x_i), with the next rung as its derivative; saves x only."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, act: Pointwise, order: int) -> Tensor:
        return evaluate(act, order, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.act, ctx.order = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times(ctx.act, ctx.order + 1, ctx.saved_tensors[0], grads[0]), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return times(ctx.act, ctx.order + 1, ctx.saved_tensors[0], tangents[0])


class _Times(torch.autograd.Function):
    """y_i = g_i · f⁽ᵒʳᵈᵉʳ⁾(x_i): the backward pass as a function of its own, for a backward pass through it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, g: Tensor, act: Pointwise, order: int) -> Tensor:
        return evaluate_times(act, order, x, g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, g, ctx.act, ctx.order = inputs
        ctx.save_for_backward(x, g)
        ctx.save_for_forward(x, g)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, g = ctx.saved_tensors
        upper, lower = times(ctx.act, ctx.order + 1, x, grads[0] * g), times(ctx.act, ctx.order, x, grads[0])
        return upper, lower, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, g = ctx.saved_tensors
        x_tangent, g_tangent = tangents[0], tangents[1]
        upper = 0 if x_tangent is None else times(ctx.act, ctx.order + 1, x, x_tangent * g)
        return upper + (0 if g_tangent is None else times(ctx.act, ctx.order, x, g_tangent))


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f′(x_i) of an elementwise function by automatic differentiation, itself differentiable."""
    primal = torch.func.vjp(function, x)
    y, pull = primal[0], primal[1]
    return pull(torch.ones_like(y))[0]
