"""One seed for every random generator that a training may use, and the caller's state given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and `random`."""
    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


def random_state() -> tuple[Any, ...]:
    """Of every random generator, for `set_random_state`."""
    # Asking for the devices' states would start CUDA in a process that never used it.
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return numpy.random.get_state(), random.getstate(), torch.get_rng_state(), devices


def set_random_state(state: tuple[Any, ...]) -> None:
    legacy, builtin, host, devices = state
    numpy.random.set_state(legacy)
    random.setstate(builtin)
    torch.set_rng_state(host)
    if devices is not None:
        torch.cuda.set_rng_state_all(devices)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give back the state of all random generators as it was before the block."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
