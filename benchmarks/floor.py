"""What any way to watch costs at least: every value read once, where it arises, by the fastest read that torch has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD
from watched_models import Watched, leaves

REPEATS = 200
"""Reads of one value, of which the fastest tenth tell what the call itself costs."""


class Floor:
    """The seconds of reading what `watch` reads: outputs and gradients of leaves, gradients and parameters."""

    def __init__(self) -> None:
        one = torch.ones(1)
        calls = sorted(_seconds(one.sum) for _ in range(REPEATS))
        self._call = calls[REPEATS // 10]
        self.begin()

    def begin(self) -> None:
        self.bytes = 0
        self.first: list[float] = []
        self.again: list[float] = []

    def read(self, tensor: Tensor) -> None:
        """Once as it lies in the caches at this moment, and once more at once."""
        with torch.no_grad():
            values = tensor.detach()
            if not values.is_contiguous():
                values = values.permute(sorted(range(values.dim()), key=values.stride, reverse=True))
            self.bytes += values.nbytes
            self.first.append(_seconds(values.sum) - self._call)
            self.again.append(_seconds(values.sum) - self._call)

    def passed(self, _module: Any, _args: Any, output: Tensor) -> None:
        self.read(output)
        output.register_hook(self.read)


def floor(watched: Watched, steps: int) -> dict[str, float]:
    """Bytes a step, and the ms of reading them: where they arise (`first`), and from the cache (`again`)."""
    torch.manual_seed(0)
    (x, target), model = watched.batch(), watched.make()
    optimizer, found = SGD(model.parameters(), 1e-3), Floor()
    for leaf in leaves(model):
        leaf.register_forward_hook(found.passed)
    first: list[list[float]] = []
    again: list[list[float]] = []
    for _ in range(steps):
        found.begin()
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        for parameter in model.parameters():
            found.read(parameter)
            if parameter.grad is not None:
                found.read(parameter.grad)
        optimizer.step()
        first.append(found.first)
        again.append(found.again)
    return {"bytes": found.bytes, "first": _usual(first), "again": _usual(again)}


def _usual(steps: list[list[float]]) -> float:
    """The ms of a step: of each read the median over the steps."""
    return 1e3 * sum(max(statistics.median(reads), 0.0) for reads in zip(*steps, strict=True))


def _seconds(call: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
