"""Loss scaling: which torch.amp.GradScaler drives a step, found without touching it."""

from __future__ import annotations

import gc
import sys

from torch import Tensor
from torch.amp.grad_scaler import GradScaler

DEEPEST = 10
"""Calls between a scaler's step and the hook of the optimizer's step: torch's own are three, schedulers and wrappers
add a few."""


def stepping_scaler() -> GradScaler | None:
    """The enabled scaler inside whose `step` this is called."""
    frame, left = sys._getframe(1), DEEPEST
    while frame is not None and left:
        if frame.f_code is _STEP:
            scaler = frame.f_locals["self"]
            return scaler if scaler.is_enabled() else None
        frame, left = frame.f_back, left - 1
    return None


def only_scaler() -> GradScaler | None:
    """The one enabled scaler of this process, None where there are several; looks at every object, in milliseconds.

    For a run whose first steps are all skipped: a scaler that finds an infinity never calls the optimizer.
    """
    found = [o for o in gc.get_objects() if issubclass(type(o), GradScaler) and o.is_enabled()]
    return found[0] if len(found) == 1 else None


def scale_of(scaler: GradScaler | None) -> Tensor | None:
    """The tensor that holds its scale, None before it has scaled a loss."""
    return None if scaler is None else scaler._scale


_STEP = GradScaler.step.__code__
