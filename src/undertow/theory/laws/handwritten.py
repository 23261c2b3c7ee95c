"""Normalisations that a user or a library wrote as a module of its own, recognised by their values."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.theory.laws.base import WHOLE, Call, Law, mean_square
from undertow.theory.laws.normalisation import Affine, UnitNorm

SAME = 1e-4
"""Relative difference in float32 up to which two results are one."""
ROWS = 5


def norm_of_module(module: nn.Module, args: tuple[Any, ...], call: Call) -> Law | None:
    """LayerNorm or RMSNorm over the last axis, or over the channels of an image, however it is written.

    The module has at most a scale and a shift, one number a unit; what it makes of random rows decides.
    """
    own = list(module.parameters())
    shape = call.given[0]
    if len(args) != 1 or not 1 <= len(own) <= 2 or any(p.ndim != 1 for p in own) or len(shape) < 2:
        return None
    units = own[0].numel()
    last = shape[-1] == units
    if any(p.numel() != units for p in own) or units < 3 or not (last or (len(shape) == 4 and shape[1] == units)):
        return None
    x = torch.randn(ROWS, units, generator=torch.Generator().manual_seed(0)) * 10 + 3
    x = x.to(own[0].dtype)
    given = x if last and len(shape) == 2 else x.reshape(ROWS, *[1] * (len(shape) - 2), units)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        y = module(given if last else given.movedim(-1, 1))
    if not isinstance(y, Tensor) or y.numel() != x.numel():
        return None
    y = (y if last else y.movedim(1, -1)).reshape(ROWS, units)
    for centred, plain in ((False, F.rms_norm(x, (units,))), (True, F.layer_norm(x, (units,)))):
        scale, shift = _fitted(plain, y)
        if torch.allclose(plain * scale + shift, y, rtol=SAME, atol=SAME * float(y.abs().max())):
            affine = Affine(mean_square(scale), mean_square(shift) if len(own) == 2 else 0.0)
            return UnitNorm(call.shape, units=units, affine=affine, centred=centred, eps=0.0)
    return None


def _fitted(plain: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Per unit the scale and shift that take the plain result nearest to y."""
    x, z = plain.double(), y.double()
    dx, dz = x - x.mean(0), z - z.mean(0)
    scale = (dx * dz).sum(0) / dx.square().sum(0)
    return scale.to(y.dtype), (z.mean(0) - scale * x.mean(0)).to(y.dtype)


WHOLE.append(norm_of_module)
