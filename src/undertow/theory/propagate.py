"""Carries the moments of the signal forward through a blueprint, and those of the backward value back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.theory.alignment import aligned
from undertow.theory.blueprint import Blueprint
from undertow.theory.drift import drifted
from undertow.theory.signal import Delta, Pairs, Signal, measured
from undertow.theory.width import scattered


@dataclass(frozen=True)
class Flow:
    """Per node of a blueprint, the signal, the backward value (None where none comes back), and why to doubt them."""

    signals: tuple[Signal, ...]
    deltas: tuple[Delta | None, ...]
    flags: tuple[tuple[str, ...], ...]
    handed: tuple[tuple[float, ...], ...]
    """Per node, the rms of what it hands back to each of its inputs; NaN where nothing."""


def propagate(blueprint: Blueprint, cotangent: float | Tensor = 1.0) -> Flow:
    """The flow for a backward value of this rms at the blueprint's first output, or for a real one."""
    signals: list[Signal] = []
    flags: list[tuple[str, ...]] = []
    for node in blueprint.nodes:
        inputs = [signals[i] for i in node.inputs]
        signals.append(node.law.forward(*inputs))
        flags.append(node.law.flags(*inputs))
    deltas: list[Delta | None] = [None] * len(signals)
    shares: list[tuple[float, ...]] = [()] * len(signals)
    last = blueprint.outputs[0]
    deltas[last] = given(signals[last], cotangent)
    for index in range(last, -1, -1):
        delta, node = deltas[index], blueprint.nodes[index]
        if delta is None:
            continue
        handed = node.law.backward(delta, signals[index], *(signals[i] for i in node.inputs))
        shares[index] = tuple(math.nan if share is None else share.rms for share in handed)
        for source, share in zip(node.inputs, handed, strict=True):
            if share is not None:
                deltas[source] = share if (so_far := deltas[source]) is None else joined(so_far, share)
    for finite in (scattered, drifted, aligned):  # what layers of finite width add
        deltas = finite(blueprint, signals, deltas, shares)
    return Flow(tuple(signals), tuple(deltas), tuple(flags), tuple(shares))


def given(output: Signal, cotangent: float | Tensor) -> Delta:
    """The backward value that the loss hands to an output: of this rms and independent everywhere, or as it is."""
    if not isinstance(cotangent, Tensor):
        return Delta(torch.full_like(output.square, cotangent**2))
    real = measured(cotangent, output.layout.roles)
    return Delta(torch.full_like(output.square, real.size), real.pairs)


def joined(one: Delta, other: Delta) -> Delta:
    """The sum of what two readers of a tensor hand back, which come through different weights."""
    square = one.square + other.square
    total = float(square.mean())
    parts = ((d.size, d.spread) for d in (one, other))
    spread = sum(spread * (size / total) ** 2 for size, spread in parts) if total else 0.0
    tilt = sum(d.size * d.tilt for d in (one, other)) / total if total else 1.0
    return Delta(square, Pairs(*one.pairs.plus(other.pairs)), spread, tilt=tilt)
