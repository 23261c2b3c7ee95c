"""Weighted layers that take the pre-activation: y = W f(x) + b, keeping x only."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from undertow.activations.base import Activation
from undertow.activations.layers.lean import Lean
from undertow.activations.layers.traced import one_call
from undertow.activations.lookup import activation
from undertow.foundation import InputError

Act = str | Activation | nn.Module


def as_module(act: Act) -> nn.Module:
    """An activation by name, definition or layer, as a layer."""
    if isinstance(act, str):
        act = activation(act)
    if isinstance(act, Activation):
        act = act.layer()
    if not isinstance(act, nn.Module):
        raise InputError(f"an activation of type {type(act).__name__}", "a name, a definition or a layer", "'silu'")
    return act


def tagged(act: nn.Module, x: Tensor) -> Tensor:
    """f(x); in a graph that torch.compile makes, marked to be computed again in the backward pass."""
    if torch.compiler.is_compiling() and torch.is_grad_enabled() and not torch.compiler.is_exporting():
        y = checkpoint(act, x, use_reentrant=False, preserve_rng_state=False)
        assert isinstance(y, Tensor)
        return y
    return act(x)


class _Activated(Lean):
    """What the layers share: f before the weights."""

    activation: nn.Module

    @one_call
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(tagged(self.activation, input))

    def _take(self, act: Act, layer: nn.Module, plain: type[nn.Module]) -> Self:
        if type(layer) is not plain:
            example = f"{type(self).__name__}.from_{'linear' if plain is nn.Linear else 'conv'}('silu', layer)"
            raise InputError(f"a layer of type {type(layer).__name__}", f"nn.{plain.__name__}", example)
        nn.Module.__init__(self)
        # the dicts of parameters, buffers and hooks are this module's own; what is in them is shared
        self.__dict__.update({n: copy.copy(v) if isinstance(v, dict) else v for n, v in vars(layer).items()})
        self.activation = as_module(act)
        return self


class ActivatedLinear(_Activated, nn.Linear):
    """y = W f(x) + b for x of shape (..., in_features): `nn.Linear` after an activation, as one layer.

    The plain pair keeps x and f(x) for its backward pass; this layer keeps x and computes f(x) again.  Its outputs and
    gradients are those of the pair to the last bit, and so is its `state_dict`: `weight`, `bias`, and the parameters
    of a trained activation under `activation.`.  Where f keeps its result instead of x, as ReLU does, nothing is
    computed twice and nothing is saved.

    Parameters
    ----------
    act:
        A name, a definition, or any module that acts on each element: `"silu"`, `Swish(beta=1.5)`, `nn.GELU()`.

    Raises
    ------
    InputError
        An activation of another kind; a name that nothing has.

    References
    ----------
    Chen, Xu, Zhang, Guestrin (2016). Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    """

    def __init__(
        self,
        act: Act,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self.activation = as_module(act)

    @classmethod
    def from_linear(cls, act: Act, linear: nn.Linear) -> Self:
        """The layer after f, with the parameters of `linear` themselves."""
        return cls.__new__(cls)._take(act, linear, nn.Linear)


class ActivatedConv1d(_Activated, nn.Conv1d):
    """y = W ∗ f(x) + b for x of shape (N, C, L): `nn.Conv1d` after an activation; see `ActivatedLinear`."""

    def __init__(self, act: Act, in_channels: int, out_channels: int, kernel_size: Any, **settings: Any) -> None:
        nn.Conv1d.__init__(self, in_channels, out_channels, kernel_size, **settings)
        self.activation = as_module(act)

    @classmethod
    def from_conv(cls, act: Act, conv: nn.Conv1d) -> Self:
        """The layer after f, with the parameters of `conv` themselves."""
        return cls.__new__(cls)._take(act, conv, nn.Conv1d)


class ActivatedConv2d(_Activated, nn.Conv2d):
    """y = W ∗ f(x) + b for x of shape (N, C, H, W): `nn.Conv2d` after an activation; see `ActivatedLinear`."""

    def __init__(self, act: Act, in_channels: int, out_channels: int, kernel_size: Any, **settings: Any) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, **settings)
        self.activation = as_module(act)

    @classmethod
    def from_conv(cls, act: Act, conv: nn.Conv2d) -> Self:
        """The layer after f, with the parameters of `conv` themselves."""
        return cls.__new__(cls)._take(act, conv, nn.Conv2d)


class ActivatedConv3d(_Activated, nn.Conv3d):
    """y = W ∗ f(x) + b for x of shape (N, C, D, H, W): `nn.Conv3d` after an activation; see `ActivatedLinear`."""

    def __init__(self, act: Act, in_channels: int, out_channels: int, kernel_size: Any, **settings: Any) -> None:
        nn.Conv3d.__init__(self, in_channels, out_channels, kernel_size, **settings)
        self.activation = as_module(act)

    @classmethod
    def from_conv(cls, act: Act, conv: nn.Conv3d) -> Self:
        """The layer after f, with the parameters of `conv` themselves."""
        return cls.__new__(cls)._take(act, conv, nn.Conv3d)
