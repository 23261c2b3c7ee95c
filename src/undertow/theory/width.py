"""How the backward value varies over random initialisations where layers are of finite width, to first order in 1/n.

For one sample, ln‖δ‖² is normal with mean −β/2 and variance β = Σ (3 E[f′⁴]/E[f′²]² − 1)/n over the layers of n units:
Hanin, Nica (2020), arXiv:1812.05994.  Of a batch the mean over samples is measured, which varies less as long as the
samples' backward values go separate ways; deep in a network they share more and more.  Followed here, for two places
a and b (samples, or positions of one) of sizes s = ‖δ‖² and with d = δₐ·δ_b, are

    alone = E[s²]/E[s]²,   shared = E[sₐ s_b]/(E[sₐ] E[s_b]),   overlap = E[d²]/(E[sₐ] E[s_b]).

Weights with n outputs (of the backward pass):  alone += 2 alone/n,  shared += 2 overlap/n,  overlap += (shared +
overlap)/n, the moments of a Wishart matrix.  An activation with h = (E[fₐ′ f_b′]/E[f′²])², m = E[fₐ′² f_b′²]/E[f′²]²
and m = m₁ at a = b:  alone += 3 (m₁ − 1) alone/n,  shared += (m − 1)(shared + 2 overlap)/n,  overlap → h overlap +
(m − h)(shared + 2 overlap)/n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from undertow.activations import Pointwise
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws import Activate, Conv, Linear
from undertow.theory.signal import Delta, Layout, Signal

POINTS = 48
"""Gauss-Hermite nodes of each of two correlated numbers: 1/n itself is right to a hundredth or so."""


class Scatter(NamedTuple):
    alone: float = 1.0
    shared: float = 1.0
    overlap: float = 0.0

    def over(self, places: int) -> float:
        """Variance of the logarithm of the mean over so many places."""
        return max(math.log((self.alone + (places - 1) * self.shared) / places), 0.0)

    def weights(self, n: float) -> Scatter:
        """Behind random weights; n may be infinite, for orthogonal ones."""
        alone, shared, overlap = self
        return Scatter(alone * (1 + 2 / n), shared + 2 * overlap / n, overlap + (shared + overlap) / n)

    def slopes(self, n: int, uneven: Uneven) -> Scatter:
        """Behind an activation."""
        alone, shared, overlap = self
        both = shared + 2 * overlap
        return Scatter(
            alone * (1 + 3 * (uneven.alone - 1) / n),
            shared + (uneven.shared - 1) * both / n,
            uneven.overlap * overlap + (uneven.shared - uneven.overlap) * both / n,
        )

    def taps(self, taps: float) -> Scatter:
        """Behind a convolution that adds up so many positions: their sizes are averaged, and what their products
        have in common by chance goes apart."""
        return Scatter((self.alone + (taps - 1) * self.shared) / taps, self.shared, self.overlap / taps)

    def times(self, factor: float) -> Scatter:
        """Behind a division by the size of each place itself."""
        return self._replace(alone=self.alone * factor)


class Uneven(NamedTuple):
    """Moments of f′ at two places."""

    alone: float
    """E[f′⁴]/E[f′²]²"""
    shared: float
    """E[fₐ′² f_b′²]/E[f′²]²"""
    overlap: float
    """(E[fₐ′ f_b′]/E[f′²])²"""


def scattered(
    blueprint: Blueprint,
    signals: Sequence[Signal],
    deltas: Sequence[Delta | None],
    handed: Sequence[Sequence[float]],
) -> list[Delta | None]:
    """The backward values with the variance of ln E[δ²] as their `spread`, E[·] over all samples, positions, units."""
    known: list[Scatter | None] = [None] * len(signals)
    last = blueprint.outputs[0]
    known[last] = Scatter(overlap=1 / max(signals[last].layout.count("F"), 1))
    sizes = [0.0] * len(signals)
    found: list[Delta | None] = list(deltas)
    for index in range(last, -1, -1):
        here, delta, node = known[index], deltas[index], blueprint.nodes[index]
        if here is None or delta is None:
            continue
        spread = here.over(places(signals[index].layout))
        found[index] = replace(delta, spread=spread, shift=-spread / 2)
        for source, rms in zip(node.inputs, handed[index], strict=False):
            if rms > 0:
                passed = _behind(node.law, here, signals[source], delta)
                size = rms * rms
                known[source] = _merged(known[source], sizes[source], passed, size)
                sizes[source] += size
    return found


def places(layout: Layout) -> int:
    fine = layout.apart
    return max(fine.count("S") * fine.count("P"), 1)


def _merged(one: Scatter | None, size: float, other: Scatter, more: float) -> Scatter:
    """Of the sum of two backward values that have come the same way until they parted."""
    if one is None:
        return other
    a, b = size / (size + more), more / (size + more)
    log = [
        a * a * math.log(p) + b * b * math.log(q) + 2 * a * b * math.log(min(p, q))
        for p, q in zip(one[:2], other[:2], strict=True)
    ]
    return Scatter(math.exp(log[0]), math.exp(log[1]), a * one.overlap + b * other.overlap)


def _behind(law: object, here: Scatter, x: Signal, delta: Delta) -> Scatter:
    units = max(x.layout.count("F"), 1)
    if isinstance(law, Conv):
        taps = law.taps.flatten()
        return here.taps(float(taps.sum() ** 2 / taps.square().sum()) if taps.any() else 1.0).weights(units)
    if isinstance(law, Linear):
        random = min(1.0, law.unevenness * law.fan_in / law.fan_out)
        return here.weights(units / random) if random else here
    if isinstance(law, Activate):
        return here.slopes(units, _uneven_at(law.activation, x))
    if getattr(law, "effect", "") == "normalisation":
        return here.times(math.exp(x.spread)) if x.normal else here  # behind an activation, `drift` has it
    if getattr(law, "effect", "") == "weights":
        return here.weights(units)
    return here


def _uneven_at(act: Pointwise, x: Signal) -> Uneven:
    square, mean = x.size, x.middle
    variance = square - mean**2
    if not 0 < variance < math.inf:
        return Uneven(1.0, 1.0, 1.0)
    c = min(max((_product(x) - mean**2) / variance, 0.0), 1.0)
    step = round(4 * math.log2(variance))
    return (_uneven if act.tensors else _uneven_once)(act, step, round(mean / math.sqrt(variance), 1), round(c, 2))


def _product(x: Signal) -> float:
    """E[x x′] of two places, the mean over all pairs."""
    samples, positions = x.layout.count("S"), math.prod(x.layout.positions)
    shares = ((samples - 1), (positions - 1), (samples - 1) * (positions - 1))
    total = sum(shares)
    return sum(p * s for p, s in zip(x.pairs, shares, strict=True)) / total if total else x.size


def _uneven(act: Pointwise, quarter_octave: int, mean: float, c: float) -> Uneven:
    z, w = np.polynomial.hermite_e.hermegauss(POINTS)
    w = w / w.sum()
    deviation = 2.0 ** (quarter_octave / 8)
    one = deviation * (mean + z[:, None] + 0 * z)
    other = deviation * (mean + c * z[:, None] + math.sqrt(1 - c * c) * z)
    u = torch.from_numpy(np.stack([one, other])).reshape(-1, 1).expand(-1, act.channels)
    with torch.no_grad():
        if act(u).isnan().any():  # not defined everywhere, and taken as straight
            return Uneven(1.0, 1.0, 1.0)
        slopes = act.derivative(u).mean(1).reshape(2, POINTS, POINTS).numpy()
    weight = w[:, None] * w
    squares = slopes * slopes
    second = float((weight * squares).sum() / 2)
    if not 0 < second < math.inf:
        return Uneven(1.0, 1.0, 1.0)
    fourth = float((weight * squares[0] ** 2).sum())
    product = float((weight * slopes[0] * slopes[1]).sum())
    return Uneven(
        fourth / second**2, float((weight * squares[0] * squares[1]).sum()) / second**2, (product / second) ** 2
    )


_uneven_once = lru_cache(maxsize=4096)(_uneven)
