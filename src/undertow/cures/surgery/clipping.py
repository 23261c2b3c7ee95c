"""Clipping of gradients: what a training does already, and the adaptive kind that torch lacks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean, pvariance

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


@dataclass
class SpikeClip:
    """‖g‖ ← μ + (z²/z_t) · σ where z_t = (‖g‖ − μ) / σ > z, over all parameters together, before each step.

    μ and σ² are exponential moving averages of ‖g‖ and (‖g‖ − μ)², begun with the moments of the first `settle` norms,
    which are not clipped; a norm that was clipped enters them clipped.  A gradient that is not finite is dropped.

    Source: Kumar, Owen, Chowdhury and Güra (2025), arXiv:2504.02507; the defaults are theirs.
    """

    z: float = 2.5
    decay: float = 0.97
    settle: int = 25
    first: list[float] = field(default_factory=list)
    mean: float = 0.0
    variance: float = 0.0

    @torch.no_grad()
    def __call__(self, parameters: Iterable[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            for gradient in gradients:
                gradient.zero_()
        elif len(self.first) < self.settle:
            self.first.append(norm)
            self.mean, self.variance = fmean(self.first), pvariance(self.first)
        else:
            kept = self._limited(norm)
            if kept < norm:
                for gradient in gradients:
                    gradient.mul_(kept / norm)
            self.variance = self.decay * self.variance + (1 - self.decay) * (kept - self.mean) ** 2
            self.mean = self.decay * self.mean + (1 - self.decay) * kept

    def _limited(self, norm: float) -> float:
        spread = math.sqrt(self.variance)
        if norm <= self.mean + self.z * spread:
            return norm
        return self.mean + self.z**2 * spread * spread / (norm - self.mean)
