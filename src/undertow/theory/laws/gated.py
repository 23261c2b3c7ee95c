"""A sum that an activation follows, y = x + z: its slope h′(y) goes with both terms, and so does δ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from undertow.activations import Pointwise
from undertow.theory.signal import Delta, Lean, Mixed, Signal

REACH, NODES = 6.0, 160
"""Standard deviations to either side, and points between them, of each term: to a few thousandths at kinks.  An
even number: no point is at a jump of h′ in the middle."""


class Skewed(NamedTuple):
    """Moments of h(y) for such a y over those for a normal y of the same mean and variance."""

    mean: float = 1.0
    square: float = 1.0
    slope: float = 1.0


class Gated(NamedTuple):
    """For x = f(u) and a normal z that are independent, and the slope h′ at x + z."""

    tilt: float
    """E[h′² f′²]/(E[h′²] E[f′²]): a shortcut that is open where h′ is large, as with ReLU behind ReLU."""
    square: float
    """E[h′² z²]/(E[h′²] E[z²])"""
    product: float
    """E[h′ z]²/E[z²]"""
    skewed: Skewed = Skewed()


def mixed(terms: Sequence[Signal], square: Tensor) -> Mixed | None:
    """What a sum of two is made of: one of them the values of an activation, the other normal."""
    if len(terms) != 2 or terms[0].normal == terms[1].normal:
        return None
    made, normal = terms if terms[1].normal else terms[::-1]
    if made.drawn is None or made.layout.shape != normal.layout.shape:
        return None
    middle = normal.middle
    variance = normal.size - middle**2
    return Mixed(made.drawn, made.size, variance, middle, square)


def gated(delta: Delta, index: int, inputs: Sequence[Signal]) -> Delta:
    """δ of a sum of two as that of one of its terms: with its tilt at the activation that made the term, or its lean on
    a term that is normal."""
    sum_of = mixed(inputs, inputs[index].square)
    if delta.passed is None or sum_of is None:
        return replace(delta, lean=None, passed=None)
    of = _of(delta.passed.activation, sum_of)
    if not inputs[index].normal:
        return replace(delta, lean=None, passed=None, tilt=of.tilt)
    before = delta.passed.before

    def lean() -> Lean:
        return Lean(delta.size * of.square, before.pairs.times(of.product))

    return replace(delta, lean=lean, passed=None)


def skewed(h: Pointwise, y: Signal) -> Skewed:
    """All 1 where y is not such a sum."""
    return Skewed() if y.mixed is None or y.mixed.square is not y.square else _of(h, y.mixed).skewed


def _of(h: Pointwise, y: Mixed) -> Gated:
    numbers = [float(f"{v:.3g}") for v in (y.made.variance, y.made.mean, y.size, y.variance, y.mean)]
    if not (0 < numbers[3] < math.inf and 0 < numbers[2] < math.inf):
        return Gated(1.0, 1.0, 0.0)
    learnt = h.tensors or (y.made.activation is not None and y.made.activation.tensors)
    return (_gated if learnt else _gated_once)(h, y.made.activation, *numbers)


def _gated(
    h: Pointwise, f: Pointwise | None, variance: float, mean: float, size: float, other: float, middle: float
) -> Gated:
    """`size` is E[x²]: what made x is known up to a factor."""
    nodes = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    w = (-nodes.square() / 2).exp()
    w = (w / w.sum()).numpy()
    u = mean + math.sqrt(max(variance, 0.0)) * nodes
    x, steep = u.numpy(), np.ones(NODES)
    with torch.no_grad():
        if f is not None:
            at = u.unsqueeze(1).expand(-1, f.channels)
            x, steep = f(at).mean(1).numpy(), f.derivative(at).square().mean(1).numpy()
        found = float(w @ x**2)
        x = x * math.sqrt(size / found) if found else x
        away = math.sqrt(other) * nodes.numpy()
        y = x[:, None] + middle + away
        values, slope = _values(h, y)
        average = float(w @ x) + middle
        normal = _values(h, average + math.sqrt(max(size - float(w @ x) ** 2, 0.0) + other) * nodes.numpy())
    squares = slope**2
    second, of_f = float(w @ squares @ w), float(w @ steep)
    if not second or not of_f:
        return Gated(1.0, 1.0, 0.0)
    return Gated(
        float((w * steep) @ squares @ w) / (second * of_f),
        float(w @ squares @ (w * away**2)) / (second * other),
        float(w @ slope @ (w * away)) ** 2 / other,
        Skewed(
            _ratio(float(w @ values @ w), float(w @ normal[0])),
            _ratio(float(w @ values**2 @ w), float(w @ normal[0] ** 2)),
            _ratio(second, float(w @ normal[1] ** 2)),
        ),
    )


def _values(h: Pointwise, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = torch.from_numpy(y.reshape(-1, 1)).expand(-1, h.channels)
    return h(at).mean(1).numpy().reshape(y.shape), h.derivative(at).mean(1).numpy().reshape(y.shape)


def _ratio(a: float, b: float) -> float:
    return a / b if b else 1.0


_gated_once = lru_cache(maxsize=1024)(_gated)
