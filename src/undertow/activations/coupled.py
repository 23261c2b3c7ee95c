"""Functions of several elements: one input changes more than one output, so f′ is a matrix.

The backward pass is written for each: it keeps one tensor in the dtype of x, where autograd over torch's operations
would keep what wider arithmetic makes.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from undertow.activations.base import Activation, applied
from undertow.activations.blocks import in_rows
from undertow.activations.evaluate import plain, recorded, working
from undertow.activations.kinds import Numeric, through
from undertow.foundation import InputError


class Coupled(Activation):
    """y = f(x) along the dimension `dim`, each vector by itself.

    The derivative is the Jacobian ∂y_i/∂x_j, with i and j as the last two dimensions and `dim` removed: shape
    (..., m, n); the second derivative ∂²y_i/∂x_j∂x_k has the shape (..., m, n, n).  Both are computed in float64 on
    the CPU and rounded once.

    A definition writes `value`, and `pull` and `push`: the products of its Jacobian with a vector from either side,
    in differentiable operations, from the output alone, or from the input where `keeps_output` is False.
    """

    dim: int
    keeps_output: ClassVar[bool] = True
    widens: ClassVar[bool] = True
    """Whether it is computed in float64, for which large inputs are taken in pieces."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """f(x), rounded once to the dtype of x."""

    @abstractmethod
    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        """Σ_i g_i ∂y_i/∂x_j; both in the dtype that `wide` gives."""

    def push(self, kept: Tensor, t: Tensor) -> Tensor:
        """Σ_j ∂y_i/∂x_j t_j; for a symmetric Jacobian the same as `pull`."""
        return self.pull(kept, t)

    def wide(self, x: Tensor) -> Tensor:
        """x in the dtype that `pull` and `push` compute in."""
        return working(x)

    def __post_init__(self) -> None:
        if not isinstance(self.dim, int) or isinstance(self.dim, bool):
            raise InputError(f"dim={self.dim!r}", "a whole number", f"{type(self).__name__}(dim=-1)")

    def __call__(self, x: Numeric) -> Numeric:
        return through(lambda t: self._seen(self._checked(t)), x)

    def derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: self.jacobian(working(self._checked(t)).movedim(self.dim, -1)).to(t.dtype), x)

    def second_derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: self.hessian(working(self._checked(t)).movedim(self.dim, -1)).to(t.dtype), x)

    def jacobian(self, x: Tensor) -> Tensor:
        """∂y_i/∂x_j of vectors along the last dimension, in the dtype of x."""
        return _by_rows(torch.func.jacrev(self._last()._value), x)

    def hessian(self, x: Tensor) -> Tensor:
        return _by_rows(torch.func.jacfwd(torch.func.jacrev(self._last()._value)), x)

    def _last(self) -> Coupled:
        return dataclasses.replace(self, dim=-1)  # pyright: ignore[reportArgumentType]

    def _seen(self, x: Tensor) -> Tensor:
        return handle_torch_function(applied, (x,), x, self) if has_torch_function_unary(x) else self._value(x)

    def _value(self, x: Tensor) -> Tensor:
        y = (_Compiled if torch.compiler.is_compiling() else _Coupled).apply(x, self)
        assert isinstance(y, Tensor)
        return y

    def _checked(self, x: Tensor) -> Tensor:
        if not -x.ndim <= self.dim < x.ndim:
            raise InputError(
                f"an input of shape {tuple(x.shape)} for {self.name} over dimension {self.dim}",
                "an input that has this dimension",
                f"{type(self).__name__}(dim=-1) on a tensor of shape (batch, features)",
            )
        return x


def _by_rows(function: Any, x: Tensor) -> Tensor:
    rows = torch.func.vmap(function)(x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], *rows.shape[1:])


class _Compiled(torch.autograd.Function):
    """y = f(x); saves the output or the input, as the definition says."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, act: Coupled) -> Tensor:
        return in_rows(act.value, act.dim, x) if act.widens and plain(x) else act.value(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.act = inputs
        kept = output if ctx.act.keeps_output else x
        ctx.save_for_backward(kept)
        ctx.save_for_forward(kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        act, (kept,), (g,) = ctx.act, ctx.saved_tensors, grads

        def pulled(kept: Tensor, g: Tensor) -> Tensor:
            return act.pull(act.wide(kept), act.wide(g)).to(kept.dtype)

        blocked = act.widens and plain(kept) and plain(g) and not recorded(kept, g)
        return in_rows(pulled, act.dim, kept, g) if blocked else pulled(kept, g), None


class _Coupled(_Compiled):
    """With forward mode too, which torch.compile refuses to read."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (kept,) = ctx.saved_tensors
        return ctx.act.push(ctx.act.wide(kept), ctx.act.wide(tangents[0])).to(kept.dtype)
