"""Weights that start with equal values: layers that were copied, which are not independent of each other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

FEW = 64
"""Numbers of a weight that tell whether it is worth to compare it whole; ours."""


def representatives(weights: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """Per matrix, the name of the first one of the same values: its own where there is none before it.

    `nn.TransformerEncoder` and `copy.deepcopy` make equal ones.  Matrices of one value only (zeros) are left out.
    """
    found: dict[str, str] = {}
    seen: dict[tuple[object, ...], list[tuple[str, Tensor]]] = {}
    for name, weight in weights:
        few = _few(weight).tolist() if weight.ndim > 1 else []
        if len(set(few)) > 1:
            like = seen.setdefault((weight.shape, weight.dtype, *few), [])
            found[name] = next((other for other, of in like if torch.equal(of, weight)), name)
            like += [(name, weight)] if found[name] == name else []
    return found


def _few(weight: Tensor) -> Tensor:
    flat = weight.detach().reshape(-1)
    return flat[:: -(-len(flat) // FEW) or 1]
