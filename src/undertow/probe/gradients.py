"""The gradients of parameters by stage: what the backward pass left, and what the optimizer receives."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from undertow.probe.clock import parameters


def total_norm(optimizer: Optimizer) -> float:
    """The Euclidean norm of all gradients that an optimizer holds; NaN where it holds none."""
    return norm(p.grad for p in parameters(optimizer) if p.grad is not None)


def norm(gradients: Iterable[Tensor]) -> float:
    found = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    if not found:
        return math.nan
    norms = torch.stack([n.double() for n in torch._foreach_norm(found)])  # pyright: ignore
    return torch.linalg.vector_norm(norms).item()
