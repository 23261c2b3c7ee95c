"""Autograd over the ladder f → f′ → f″: the backward pass of f is f′ itself, not the derivative of f's operations.

torch's own backward of sigmoid is y(1 − y), which is exactly 0 from x = 16.6 in float32 where f′ is still 6e-8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from undertow.activations.evaluate import evaluate, evaluate_times, in_torch, times_in_torch, working

if TYPE_CHECKING:
    from undertow.activations.base import Pointwise

Keep = Literal["input", "output"]
LAST = 2
"""From f″ on torch differentiates operations."""


def rung(act: Pointwise, order: int, x: Tensor) -> Tensor:
    """The derivative of this order (0, 1, 2) at x, itself differentiable by the next rung."""
    if act.tensors:
        return _with_tensors(act, order, x)
    if order == LAST:
        return in_torch(act, order, x) if _recorded(x) else evaluate(act, order, x)
    if not _recorded(x):
        return evaluate(act, order, x)
    if torch.compiler.is_compiling():
        return _CompiledRung.apply(x, act, order)  # pyright: ignore[reportReturnType]
    return (_Rung.apply if torch._C._are_functorch_transforms_active() else _apply_rung)(x, act, order)


def through_output(act: Pointwise, x: Tensor) -> Tensor:
    """f(x) that keeps y instead of x for the backward pass."""
    if torch.compiler.is_compiling() or not _recorded(x) or _forward_or_transformed():
        return rung(act, 0, x)
    y = _FromOutput.apply(x, act)
    assert isinstance(y, Tensor)
    return y


def times(act: Pointwise, order: int, x: Tensor, g: Tensor) -> Tensor:
    """g · f⁽ᵒʳᵈᵉʳ⁾(x), differentiable in both."""
    if not _recorded(x, g):
        return evaluate_times(act, order, x, g)
    if order == LAST:
        wide = x.double() if x.device.type == "cpu" else x
        return (g.to(wide.dtype) * in_torch(act, order, wide)).to(g.dtype)
    if torch.compiler.is_compiling():
        return _CompiledTimes.apply(x, g, act, order)  # pyright: ignore[reportReturnType]
    return (_Times.apply if torch._C._are_functorch_transforms_active() else _apply_times)(x, g, act, order)


def _recorded(*tensors: Tensor) -> bool:
    """Whether anybody may differentiate: reverse mode, forward mode or a function transform."""
    return (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)) or _forward_or_transformed()


def _forward_or_transformed() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _with_tensors(act: Pointwise, order: int, x: Tensor) -> Tensor:
    names, tensors = zip(*act.tensors.items(), strict=True)
    if not _recorded(x, *tensors):
        return evaluate(act, order, x)
    if torch.compiler.is_compiling() or _forward_or_transformed():
        return in_torch(act, order, x)
    y = _Trained.apply(x, act, order, names, *tensors)
    assert isinstance(y, Tensor)
    return y


class _CompiledRung(torch.autograd.Function):
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
    def again(ctx: Any) -> Tensor:
        """The result once more, for a layer that doesn't keep it."""
        return evaluate(ctx.act, ctx.order, ctx.saved_tensors[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times(ctx.act, ctx.order + 1, ctx.saved_tensors[0], grads[0]), None, None


class _Rung(_CompiledRung):
    """With forward mode too, which torch.compile refuses to read."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return times(ctx.act, ctx.order + 1, ctx.saved_tensors[0], tangents[0])


class _CompiledTimes(torch.autograd.Function):
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


class _Times(_CompiledTimes):
    """With forward mode too."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        x, g = ctx.saved_tensors
        x_tangent, g_tangent = tangents[0], tangents[1]
        upper = 0 if x_tangent is None else times(ctx.act, ctx.order + 1, x, x_tangent * g)
        return upper + (0 if g_tangent is None else times(ctx.act, ctx.order, x, g_tangent))


# Outside of function transforms, where `Function.apply` only costs: it reads the signature anew at every call
_apply_rung: Any = super(torch.autograd.Function, _Rung).apply  # pyright: ignore[reportAttributeAccessIssue]
_apply_times: Any = super(torch.autograd.Function, _Times).apply  # pyright: ignore[reportAttributeAccessIssue]


class _FromOutput(torch.autograd.Function):
    """y_i = f(x_i), whose backward pass reads y: one tensor for both where the next layer keeps its input anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, act: Pointwise) -> Tensor:
        ctx.act, y = act, evaluate(act, 0, x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        y, g = ctx.saved_tensors[0], grads[0]
        wide = working(y) if y.dtype.itemsize < 4 else y
        return (g.to(wide.dtype) * ctx.act.df_from_output(wide)).to(g.dtype), None


class _Trained(torch.autograd.Function):
    """f⁽ᵒʳᵈᵉʳ⁾(x_i) with parameters that are tensors; saves x and them, and differentiates f's operations anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, act: Pointwise, order: int, names: tuple[str, ...], *tensors: Tensor) -> Tensor:
        ctx.act, ctx.order, ctx.names = act, order, names
        ctx.save_for_backward(x, *tensors)
        return evaluate(act, order, x)

    @staticmethod
    def again(ctx: Any) -> Tensor:
        """The result once more, for a layer that doesn't keep it."""
        return evaluate(_Trained._definition(ctx), ctx.order, ctx.saved_tensors[0])

    @staticmethod
    def _definition(ctx: Any) -> Pointwise:
        return dataclasses.replace(ctx.act, **dict(zip(ctx.names, ctx.saved_tensors[1:], strict=True)))  # pyright: ignore

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        again, g = torch.is_grad_enabled(), grads[0]
        with torch.enable_grad():
            # aliases: what made x may hold the same parameters, and has a backward pass of its own
            x, *tensors = inputs = [t.view_as(t) for t in ctx.saved_tensors]
            act = dataclasses.replace(ctx.act, **dict(zip(ctx.names, tensors, strict=True)))
            y = in_torch(act, ctx.order, x)
        own = ctx.order < LAST and x.requires_grad  # f′ by its own rules, which hold in the tails and at kinks
        takers = [t for t in (tensors if own else inputs) if t.requires_grad]
        found = dict.fromkeys(map(id, inputs))
        if takers and y.requires_grad:  # no operation may use a parameter: a threshold has no slope
            parts = torch.autograd.grad(y, takers, g, create_graph=again, allow_unused=True)
            found.update(zip(map(id, takers), parts, strict=True))
        if own:
            found[id(x)] = (times_in_torch if again else evaluate_times)(act, ctx.order + 1, x, g)
        first, *others = found.values()
        return first, None, None, None, *others


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f′(x_i) of an elementwise function by automatic differentiation, itself differentiable."""
    primal = torch.func.vjp(function, x)
    y, pull = primal[0], primal[1]
    return pull(torch.ones_like(y))[0]
