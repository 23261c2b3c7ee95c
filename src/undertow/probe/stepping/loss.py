"""The loss whose backward pass is running: the one tensor of a training loop that no hook is handed."""

from __future__ import annotations

import sys
from types import FrameType

import torch
from torch import Tensor

_OF_TENSOR = Tensor.backward.__code__
_OF_AUTOGRAD = torch.autograd.backward.__code__


def running_loss() -> Tensor | None:
    """The scalar on which `backward()` was called, with its graph, while that runs or ends in the calling thread.

    It is read from the frames of that call, the outermost where checkpointing nests another one; None where there is
    none (a thread of the engine's own, as of a GPU) or where it is no real scalar.
    """
    found: object = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _OF_TENSOR:
            found = frame.f_locals.get("self")
        elif frame.f_code is _OF_AUTOGRAD:
            given = frame.f_locals.get("tensors")
            found = given[0] if isinstance(given, tuple | list) and len(given) == 1 else given
        frame = frame.f_back
    if isinstance(found, Tensor) and found.numel() == 1 and found.is_floating_point():
        return found
    return None
