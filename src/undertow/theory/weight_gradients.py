"""The gradients of the weights, from the signals that come in and the backward values that come back."""

from __future__ import annotations

import math

from undertow.theory.account import median_rms
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws import Linear
from undertow.theory.propagate import Flow
from undertow.theory.signal import Delta, Signal


def weight_gradients(blueprint: Blueprint, flow: Flow) -> dict[str, float]:
    """‖∂L/∂W‖² = Σ_kk′ (δ_k·δ_k′)(x_k·x_k′) over all places k of y = W x + b (samples and positions), by site.

    With many units each product is n times its mean, n_out E[δ_k δ_k′] · n_in E[x_k x_k′].  Two places count as much
    as one where they have signal and backward value in common: behind layers that draw all samples together, the
    gradient of a batch is one sample's.  The median over initialisations, of the Euclidean norm.
    """
    found: dict[str, float] = {}
    for node, delta in zip(blueprint.nodes, flow.deltas, strict=True):
        if not isinstance(node.law, Linear) or node.site is None or delta is None:
            continue
        square = node.law.fan_in * node.law.fan_out * _products(flow.signals[node.inputs[0]], delta)
        found[node.site.name] = math.sqrt(max(square, 0.0)) * (median_rms(delta) / delta.rms if delta.rms else 1.0)
    return found


def _products(x: Signal, delta: Delta) -> float:
    """Σ_kk′ E[δ_k δ_k′] E[x_k x_k′]."""
    samples, positions = x.layout.count("S"), x.layout.count("P")
    pairs = (samples - 1, positions - 1, (samples - 1) * (positions - 1))
    common = sum(n * d * s for n, d, s in zip(pairs, delta.pairs, x.pairs, strict=True))
    return samples * positions * (float((x.square * delta.square).mean()) + common)
