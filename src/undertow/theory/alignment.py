"""How the backward value comes to lie along the signal, beyond what chance makes of it.

Mean-field theory takes δ to be independent of x.  Of one vector x of n units δ holds the share 1/n by chance; but the
weights that made u = W x hand back along x exactly what δ holds along u, (x·δx) = (u·δu) without a bias, whatever its
share.  An activation passes H = E[u f f′] of it.  So where the signal grows forward faster than the backward value
grows backward (χ∥ > χ⊥: unstable points; weights matched for a signal that is still growing), the share ρ along the
signal grows with every layer back, and with it E[δ²]:

    W:  n_in ρx = k n_out ρu + (1 − ρu)(1 − k),  k the share of E[u²] that is no bias;   E[δ²] times 1 − 1/n_in + ρx
    f:  E[δ²] times (ρ T + (1 − ρ)(n E[f′²] − T)/(n − 1))/E[f′²],  T = E[f′² f²]/E[f²];
        along u then ρ H²/(E[f²] q) + (1 − ρ)(E[u² f′²] − H²/E[f²])/(n q), over E[f′²] and that factor.

With ρ = 1/n and k = 1 all factors are 1.  A normalisation hands back nothing along x, which its law counts.  Ours; a
mean over initialisations of layers of finite width, exact to first order in 1/n for one sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch

from undertow.activations import Pointwise
from undertow.theory.blueprint import Blueprint
from undertow.theory.drift import kept, share
from undertow.theory.laws import Activate, Add, Conv, Linear
from undertow.theory.quadrature import gaussian_nodes
from undertow.theory.signal import Delta, Layout, Signal
from undertow.theory.width import places

SAME = frozenset({"other", "branching"})
"""Effects of operations that move values or scale them: the share stays."""


class Along(NamedTuple):
    """At a node: E[δ²] over its mean-field value, and the share of it along the signal."""

    grown: float
    share: float


class Overlaps(NamedTuple):
    """Of an activation f(u), with q = E[u²]."""

    slope: float
    """E[f′²]"""
    along: float
    """T = E[f′² f²]/E[f²]"""
    passed: float
    """H²/(E[f²] q)"""
    fresh: float
    """E[u² f′²]/q − H²/(E[f²] q)"""


def aligned(
    blueprint: Blueprint,
    signals: Sequence[Signal],
    deltas: Sequence[Delta | None],
    handed: Sequence[Sequence[float]],
) -> list[Delta | None]:
    """The backward values with what their alignment with the signal adds to their shift."""
    known: list[Along | None] = [None] * len(signals)
    sizes = [0.0] * len(signals)
    last = blueprint.outputs[0]
    known[last] = Along(1.0, 1 / dimensions(signals[last].layout))
    found = list(deltas)
    for index in range(last, -1, -1):
        here, delta, node = known[index], deltas[index], blueprint.nodes[index]
        if here is None or delta is None:
            continue
        layout = signals[index].layout
        # what lies along one direction beyond its share is as large as the square of one normal number
        spread = 2 * (here.share - 1 / dimensions(layout)) ** 2 / places(layout)
        shift = delta.shift + math.log(here.grown) - spread / 2
        found[index] = replace(delta, spread=delta.spread + spread, shift=shift)
        for source, rms in zip(node.inputs, handed[index], strict=False):
            if rms > 0:
                before = _before(node.law, here, signals, index, source)
                known[source] = _joined(known[source], sizes[source], before, rms * rms)
                sizes[source] += rms * rms
    return found


def dimensions(layout: Layout) -> int:
    """Of the vector that the share is of: the units of a place, of all positions where these come behind the units, as
    a convolution has them."""
    positions = "P" in layout.roles and layout.roles.rfind("P") > layout.roles.find("F") >= 0
    return max(layout.count("F") * (layout.count("P") if positions else 1), 1)


def _joined(one: Along | None, size: float, other: Along, more: float) -> Along:
    """Of the sum of two backward values that come through different weights."""
    if one is None:
        return other
    a, b = size / (size + more), more / (size + more)
    grown = a * one.grown + b * other.grown
    return Along(grown, (a * one.grown * one.share + b * other.grown * other.share) / grown)


def _before(law: object, here: Along, signals: Sequence[Signal], index: int, source: int) -> Along:
    """At an input of an operation."""
    x, y = signals[source], signals[index]
    n, chance = dimensions(x.layout), here._replace(share=1 / dimensions(x.layout))
    if isinstance(law, Linear | Conv):
        of_input = kept(law, y)
        share_back = (of_input * here.share * dimensions(y.layout) + (1 - here.share) * (1 - of_input)) / n
        return _grown(here, 1 - 1 / n, share_back)
    if isinstance(law, Activate):
        return chance if n < 2 else _through(law.activation, x, here, n)
    if isinstance(law, Add):
        part = share(signals, index, source)
        return here._replace(share=here.share * part + (1 - here.share) * (1 - part) / n)
    same = getattr(law, "effect", "") in SAME and n == dimensions(y.layout)
    return here if same else chance


def _grown(here: Along, across: float, along: float) -> Along:
    """With these parts across the signal and along it, of what mean-field theory expects."""
    return Along(here.grown * (across + along), along / (across + along))


def _through(activation: Pointwise, x: Signal, here: Along, n: int) -> Along:
    square, mean = x.size, x.middle
    variance = square - mean**2
    if not 0 < variance < math.inf:
        return here
    step, middle = round(8 * math.log2(variance)), round(mean / math.sqrt(variance), 1)
    of = (_overlaps if activation.tensors else _overlaps_once)(activation, step, middle)
    if not of.slope:
        return here
    across = (1 - here.share) * (n * of.slope - of.along) / (n - 1)
    whole = (here.share * of.along + across) / of.slope
    along = (here.share * of.passed + (1 - here.share) * of.fresh / n) / of.slope
    return _grown(here, max(whole - along, 0.0), along)


def _overlaps(activation: Pointwise, eighth_octave: int, mean: float) -> Overlaps:
    deviation = 2.0 ** (eighth_octave / 16)
    u, w = gaussian_nodes(mean * deviation, deviation**2, activation.kinks)
    at = torch.from_numpy(u).unsqueeze(1).expand(-1, activation.channels)
    with torch.no_grad():
        f, slope = activation(at).mean(1).numpy(), activation.derivative(at).mean(1).numpy()
    size, square = float(w @ f**2), float(w @ u**2)
    if not size:
        return Overlaps(0.0, 0.0, 0.0, 0.0)
    passed = float(w @ (u * f * slope)) ** 2 / (size * square)
    fresh = max(float(w @ (u * slope) ** 2) / square - passed, 0.0)
    return Overlaps(float(w @ slope**2), float(w @ (slope * f) ** 2) / size, passed, fresh)


_overlaps_once = lru_cache(maxsize=4096)(_overlaps)
