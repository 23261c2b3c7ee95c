"""How deep a network of this kind can be: where its gradient ends, where it overflows, where it stops to train."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch

from undertow.record import Ledger
from undertow.record.flow import EXPLODED, VANISHED, sizes


class Format(NamedTuple):
    """The sizes that a floating-point number can have."""

    smallest: float
    """A number below half of it becomes 0."""
    largest: float


FORMATS = {
    torch.float32: Format(2.0**-149, torch.finfo(torch.float32).max),
    # torch's kernels for the CPU flush bfloat16's subnormal numbers (measured): the smallest normal one is the end
    torch.bfloat16: Format(2.0**-126, torch.finfo(torch.bfloat16).max),
    torch.float16: Format(2.0**-24, torch.finfo(torch.float16).max),
}
FEWEST = 4
"""Layers of weights from which on a law can be told from a chance; ours."""
MOST = 1000
"""A depth beyond this is none: the deepest networks that were trained (He et al. 2016, arXiv:1603.05027)."""


@dataclass(frozen=True)
class Layer:
    """A layer of weights on the main path, counted from the output: the last one is 1."""

    number: int
    rms: float
    """Of the backward value of its output (median), without what pooling does to an rms."""
    count: int
    """Values of its output."""


def layers(ledger: Ledger) -> list[Layer]:
    """The layers of weights on the main path, the last one first."""
    found = [
        (size, e.forward.count)
        for size, e in zip(sizes(ledger), ledger.path, strict=True)
        if e.site.effect == "weights"
    ]
    return [Layer(number, *one) for number, one in enumerate(reversed(found), 1)]


def largest_of(count: int) -> float:
    """The median of the largest |z| of so many standard normal numbers."""
    return NormalDist().inv_cdf(1 - (1 - 0.5 ** (1 / max(count, 1))) / 2)


def underflow_depth(found: list[Layer], form: Format) -> float:
    """The first layer from the output whose gradients are all exactly 0; inf where there is none.

    The largest of n normal numbers of size rms is rms · z(n); it becomes 0 below half of the smallest number.
    """
    return _depth(found, lambda layer: layer.rms * largest_of(layer.count) / (form.smallest / 2), falls=True)


def overflow_depth(found: list[Layer], form: Format) -> float:
    """The first layer from the output with a gradient beyond the largest number; inf where there is none."""
    return _depth(found, lambda layer: layer.rms * largest_of(layer.count) / form.largest, falls=False)


def trainable_depth(found: list[Layer]) -> float:
    """The first layer from the output that one learning rate does not serve together with the last one.

    Its backward value is less than 1/1000 or more than 100 times that of the last one, as the findings `vanishing`
    and `exploding` have it; inf where there is none.
    """
    last = found[0].rms if found else 0.0
    if not last:
        return math.nan
    vanished = _depth(found, lambda layer: layer.rms / last / VANISHED, falls=True)
    return min(vanished, _depth(found, lambda layer: layer.rms / last / EXPLODED, falls=False))


def _depth(found: list[Layer], over: Callable[[Layer], float], falls: bool) -> float:
    """The number of the first layer where `over` has come below 1 (or above it) for good; beyond the last layer the
    change per layer goes on as it was."""
    logs = [_log(over(layer)) for layer in found]
    gone = [log < 0 if falls else log > 0 for log in logs]
    if not gone:
        return math.inf
    if gone[-1]:  # a branch that starts at 0 hands nothing back and is passed by: what counts is the rest of the way
        return float(found[len(gone) - gone[::-1].index(False)].number if False in gone else 1)
    rate = log_rate(found)
    if not rate or (rate < 0) != falls:
        return math.inf
    more = math.floor(-logs[-1] / rate) + 1
    return float(len(found) + more) if len(found) + more <= MOST else math.inf


def log_rate(found: list[Layer]) -> float:
    """The change of ln δ from a layer to the one before it, where it is the same in each; else 0.

    The median of the slopes between all pairs of layers (Sen 1968, doi:10.1080/01621459.1968.10480934): neither a
    last layer of another width nor the two layers of a residual branch, which change δ by turns, decide it.  A residual
    network and one at criticality follow a power of the depth, ln δ ∝ ln ℓ, and end nowhere.
    """
    points = [(layer.number, math.log(layer.rms)) for layer in found if 0 < layer.rms < math.inf]
    if len(points) < 2:
        return 0.0
    number, height = np.array(points).T
    one, other = np.triu_indices(len(points), 1)
    rate = float(np.median((height[other] - height[one]) / (number[other] - number[one])))
    if len(points) < FEWEST:
        return rate
    heights = height.tolist()
    from_input = [float(len(found) + 1 - i) for i, _ in points]
    straight = _misfit(from_input, heights)
    return 0.0 if _misfit([math.log(x) for x in from_input], heights) < straight else rate


def largest_step(found: list[Layer]) -> tuple[int, float]:
    """Between which two layers δ changes the most beside its usual change: the place of the later one among `found`,
    and the factor."""
    rate = log_rate(found)
    steps = [(i, b.rms / a.rms) for i, (a, b) in enumerate(pairwise(found)) if a.rms > 0 and b.rms > 0]
    return max(steps, key=lambda step: abs(math.log(step[1]) - rate), default=(0, math.nan))


def _misfit(x: list[float], y: list[float]) -> float:
    """What the best straight line leaves over of the squares."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    xx = sum((a - mean_x) ** 2 for a in x)
    xy = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return sum((b - mean_y) ** 2 for b in y) - xy * xy / xx


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
