"""One seed for every random generator that a training may use, and the caller's state given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and `random`."""
    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give back the state of all random generators as it was before the block."""
    legacy, builtin = numpy.random.get_state(), random.getstate()
    # Asking for the devices' states would start CUDA in a process that never used it.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        numpy.random.set_state(legacy)
        random.setstate(builtin)
