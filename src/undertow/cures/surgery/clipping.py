"""Clipping of gradients: what a training does already, and the adaptive kind that torch lacks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from undertow.cures.training import Training
from undertow.foundation import say


def clip_refused(training: Training, norm: float = 0.0) -> str | None:
    """Why a training needs no clipping to this norm, or None."""
    if callable(training.clip):
        return say("cures.refused.clips")
    if training.clip is not None and training.clip <= (norm or training.clip):
        return say("cures.refused.clipped", norm=float(training.clip))
    return None


@torch.no_grad()
def adaptive_clip_(parameters: Iterable[nn.Parameter], factor: float = 0.01, eps: float = 1e-3) -> None:
    """g ← g · min(1, factor · max(‖w‖, eps) / ‖g‖), for each unit (row of a weight) of each parameter, in place.

    The gradient of a unit stays below a share of the unit itself, so that no step changes it beyond recognition.
    Biases and gains are one unit each value.

    Source: Brock, De, Smith and Simonyan (2021), arXiv:2102.06171; factor 0.01 and eps 10⁻³ are theirs.
    """
    for parameter in parameters:
        if parameter.grad is None:
            continue
        size, gradient = _unit_norms(parameter).clamp(min=eps), _unit_norms(parameter.grad)
        parameter.grad.mul_((factor * size / gradient.clamp(min=torch.finfo(gradient.dtype).tiny)).clamp(max=1.0))


def _unit_norms(tensor: Tensor) -> Tensor:
    """The Euclidean norm of each unit, shaped so that it multiplies the tensor."""
    if tensor.dim() < 2:
        return tensor.abs()
    return tensor.flatten(1).norm(dim=1).reshape(-1, *[1] * (tensor.dim() - 1))
