"""Gated blocks: W_down(f(W_gate x) · W_up x), keeping the two halves only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from undertow.activations.layers.activated import Act, as_module, tagged
from undertow.activations.layers.again import forgetting
from undertow.activations.layers.lean import made_lean
from undertow.foundation import InputError


class GatedMLP(nn.Module):
    """y = W_down(f(W_gate x) · W_up x) for x of shape (..., dim) and y of shape (..., dim_out).

    For its backward pass it keeps x and the two halves W_gate x and W_up x, 4 bytes a hidden element in bfloat16;
    written out it keeps f(W_gate x) and the product too, 8 bytes.  Gradients are the same to the last bit.

    Parameters
    ----------
    act:
        The gate's activation: a name, a definition, or a layer (whose parameters are trained).
    dim, hidden, dim_out:
        Sizes of input, halves and output; `dim_out` is `dim` unless given.
    bias:
        Whether the three linear layers have one; the published blocks have none.

    Raises
    ------
    InputError
        A size below 1; an activation that is none.

    References
    ----------
    Shazeer (2020). GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    def __init__(
        self,
        act: Act,
        dim: int,
        hidden: int,
        dim_out: int | None = None,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dim_out = dim if dim_out is None else dim_out
        if min(dim, hidden, dim_out) < 1:
            raise InputError(f"sizes {dim}, {hidden}, {dim_out}", "whole numbers from 1 on", "SwiGLU(512, 1376)")
        self.activation = as_module(act)
        self.gate = nn.Linear(dim, hidden, bias, device, dtype)
        self.up = nn.Linear(dim, hidden, bias, device, dtype)
        self.down = made_lean(nn.Linear(hidden, dim_out, bias, device, dtype))

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(x)
        return self.down(forgetting(lambda a: a * up, tagged(self.activation, self.gate(x))))


class SwiGLU(GatedMLP):
    """y = W_down(silu(W_gate x) · W_up x); see `GatedMLP`."""

    def __init__(self, dim: int, hidden: int, dim_out: int | None = None, bias: bool = False) -> None:
        super().__init__("silu", dim, hidden, dim_out, bias)


class GEGLU(GatedMLP):
    """y = W_down(gelu(W_gate x) · W_up x); see `GatedMLP`."""

    def __init__(self, dim: int, hidden: int, dim_out: int | None = None, bias: bool = False) -> None:
        super().__init__("gelu", dim, hidden, dim_out, bias)


class ReGLU(GatedMLP):
    """y = W_down(relu(W_gate x) · W_up x); see `GatedMLP`."""

    def __init__(self, dim: int, hidden: int, dim_out: int | None = None, bias: bool = False) -> None:
        super().__init__("relu", dim, hidden, dim_out, bias)
