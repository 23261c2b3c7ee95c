"""How the size of the signal wanders from layer to layer at finite width, and what that makes of the backward value.

The mean square q of a layer's sums is a mean over n units of the layer before, so that ln q varies by ν = (E[f⁴]/E[f²]²
− 1)/n a layer, and each layer passes on κ = d ln q′/d ln q of what it is given: χ∥ at a fixed point.  With η = d ln
E[f′²]/d ln q, the backward value at a site changes by A = Σ η Π κ over the layers from there to the output for each
unit of ln q there.  To first order ln E[δ²] varies by A² Var(ln q), and its median moves by −A Var(ln q)/2, for ln q
has the mean ln E[q] − Var(ln q)/2.  Behind a normalisation the size is 1 again, and its 1/s² counts as A = −1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from undertow.activations import Pointwise
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws import Activate, Add, Conv, Linear, UnitNorm
from undertow.theory.laws.tails import tails
from undertow.theory.moments import Moments, moments
from undertow.theory.signal import Delta, Signal
from undertow.theory.width import places

STEP = 0.02
"""Of ln q, for the derivative of E[f′²]."""
LARGEST = 1.0
"""Of Var(ln q): beyond, first order says nothing; the forecast flags a size that does not settle."""
STEEPEST = 30.0
"""Of A, for the same reason."""
FURTHEST = 1.0
"""Of the shift of ln E[δ²], likewise."""


class Wander(NamedTuple):
    """Variance of the logarithm of a size over initialisations: of one place, and what two places share of it."""

    alone: float = 0.0
    shared: float = 0.0

    def times(self, factor: float) -> Wander:
        return Wander(self.alone * factor, self.shared * factor)

    def plus(self, other: Wander) -> Wander:
        return Wander(min(self.alone + other.alone, LARGEST), min(self.shared + other.shared, LARGEST))


class Response(NamedTuple):
    """Of an activation to its pre-activation's size."""

    forward: float
    """κ = d ln E[f²]/d ln q"""
    backward: float
    """η = d ln E[f′²]/d ln q"""
    noise: Wander
    """n ν"""


class Back(NamedTuple):
    """At a node: A, and the variance and the shift of ln E[δ²] by what is drawn between there and the output."""

    sensitivity: float = 0.0
    spread: float = 0.0
    shift: float = 0.0

    def through(self, made: Wander, count: int) -> Back:
        """With the noise that is drawn on the way from here to the next node."""
        spread, shift = moved(self.sensitivity, made, count)
        return self._replace(spread=self.spread + spread, shift=self.shift + shift)


def moved(sensitivity: float, size: Wander, count: int) -> tuple[float, float]:
    """Variance and shift of ln E[δ²], the mean over so many places, by a size that varies."""
    a, own = sensitivity, size.alone - size.shared
    spread = a * a * (size.shared + own / count)
    return spread, -a * size.alone / 2 + a * a * own * (1 - 1 / count) / 2


def drifted(
    blueprint: Blueprint,
    signals: Sequence[Signal],
    deltas: Sequence[Delta | None],
    handed: Sequence[Sequence[float]],
) -> list[Delta | None]:
    """The backward values with what the wandering of the signal's size adds to their spread and shift."""
    sizes, made, responses = _forward(blueprint, signals)
    backs: list[Back | None] = [None] * len(signals)
    weights = [0.0] * len(signals)
    backs[blueprint.outputs[0]] = Back()
    found = list(deltas)
    for index in range(blueprint.outputs[0], -1, -1):
        here, delta, node = backs[index], deltas[index], blueprint.nodes[index]
        if here is None or delta is None:
            continue
        count = places(signals[index].layout)
        spread, shift = moved(here.sensitivity, sizes[index], count)
        spread, shift = spread + here.spread, shift + here.shift
        shift = min(max(shift, -FURTHEST), FURTHEST)
        found[index] = replace(delta, spread=delta.spread + spread, shift=delta.shift + shift)
        passed = here.through(made[index], count)
        for source, rms in zip(node.inputs, handed[index], strict=False):
            if rms > 0:
                before = _before(node.law, passed, responses[index], signals, index, source)
                backs[source], weights[source] = _joined(backs[source], weights[source], before, rms * rms)
    return found


def _forward(
    blueprint: Blueprint, signals: Sequence[Signal]
) -> tuple[list[Wander], list[Wander], list[Response | None]]:
    """Per node how far its size has wandered, how much of that was drawn there, and how an activation responds."""
    sizes, made = [Wander()] * len(signals), [Wander()] * len(signals)
    responses: list[Response | None] = [None] * len(signals)
    normalised: set[int] = set()
    readers = blueprint.readers()
    for index, node in enumerate(blueprint.nodes):
        law, inputs = node.law, [sizes[i] for i in node.inputs]
        if law.effect == "normalisation":
            normalised.add(index)
        elif isinstance(law, Activate):
            x = signals[node.inputs[0]]
            centred = bool(readers[index]) and all(_centres(blueprint.nodes[i].law) for i in readers[index])
            response = responses[index] = response_of(law.activation, x)
            noise = response.noise
            if centred:  # by the variance that is taken, not by E[f²]
                kurtosis = tails(signals[index]).kurtosis
                noise = noise.times((kurtosis - 1) / noise.alone) if noise.alone else noise
            if normalised.issuperset(node.inputs):  # the units' squares have a sum that does not vary
                taken = min(2 * response.forward**2, noise.alone)
                noise = Wander(noise.alone - taken, min(noise.shared, noise.alone - taken))
            made[index] = noise.times(1 / (max(x.layout.count("F"), 1) * math.prod(x.layout.positions)))
            sizes[index] = inputs[0].times(response.forward**2).plus(made[index])
        elif isinstance(law, Add):
            for source, size in zip(node.inputs, inputs, strict=True):
                sizes[index] = sizes[index].plus(size.times(share(signals, index, source) ** 2))
        elif isinstance(law, Linear | Conv):
            sizes[index] = inputs[0].times(kept(law, signals[index]) ** 2)
        else:
            for size in inputs:
                sizes[index] = sizes[index].plus(size)
    return sizes, made, responses


def _centres(law: object) -> bool:
    return isinstance(law, UnitNorm) and law.centred


def _before(
    law: object, here: Back, response: Response | None, signals: Sequence[Signal], index: int, source: int
) -> Back:
    """At an input of an operation."""
    if response is not None:
        return here._replace(sensitivity=_bounded(response.backward + response.forward * here.sensitivity))
    if getattr(law, "effect", "") == "normalisation":
        return here._replace(sensitivity=-1.0)
    if isinstance(law, Add):
        return here._replace(sensitivity=here.sensitivity * share(signals, index, source))
    if isinstance(law, Linear | Conv):
        return here._replace(sensitivity=here.sensitivity * kept(law, signals[index]))
    return here


def _joined(one: Back | None, weight: float, other: Back, more: float) -> tuple[Back, float]:
    """Of the sum of two backward values, by their shares of it."""
    if one is None:
        return other, more
    a, b = weight / (weight + more), more / (weight + more)
    return Back(*(a * x + b * y for x, y in zip(one, other, strict=True))), weight + more


def _bounded(sensitivity: float) -> float:
    return min(max(sensitivity, -STEEPEST), STEEPEST)


def share(signals: Sequence[Signal], index: int, source: int) -> float:
    total = signals[index].size
    return min(signals[source].size / total, 1.0) if total > 0 else 0.0


def kept(law: Linear | Conv, y: Signal) -> float:
    """The share of E[y²] that comes from the input, not from the bias."""
    total = y.size
    return max(1 - law.bias / total, 0.0) if total > 0 else 0.0


def response_of(activation: Pointwise, x: Signal) -> Response:
    square, mean = x.size, x.middle
    variance = square - mean**2
    if not 0 < variance < math.inf:
        return Response(0.0, 0.0, Wander())
    samples, positions = x.layout.count("S"), math.prod(x.layout.positions)
    counts = (samples - 1, positions - 1, (samples - 1) * (positions - 1))
    total = sum(counts)
    common = sum(n * p for n, p in zip(counts, x.pairs, strict=True)) / total if total else square
    c = min(max((common - mean**2) / variance, 0.0), 1.0)
    step = round(8 * math.log2(variance))
    return (_response if activation.tensors else _response_once)(activation, step, round(mean, 2), round(c, 2))


def _response(activation: Pointwise, eighth_octave: int, mean: float, c: float) -> Response:
    variance = 2.0 ** (eighth_octave / 8)

    def at(v: float) -> Moments:
        return moments(activation, v, mean)

    here, low, high = at(variance), at(variance * math.exp(-STEP)), at(variance * math.exp(STEP))
    if not (here.E_f2 > 0 and low.E_df2 > 0 and high.E_df2 > 0):
        return Response(0.0, 0.0, Wander())
    alone = here.E_f4 / here.E_f2**2 - 1
    return Response(
        forward=variance * here.dE_f2_dq / here.E_f2,
        backward=math.log(high.E_df2 / low.E_df2) / (2 * STEP),
        noise=Wander(alone, alone * c * c),
    )


_response_once = lru_cache(maxsize=4096)(_response)
