"""The ledger that theory expects: what a measurement of the backward pass will find, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from undertow.activations import Pointwise, traits
from undertow.record import Entry, Ledger, Reading, Slope
from undertow.record.flow import FLAT
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws import Activate
from undertow.theory.propagate import Flow
from undertow.theory.signal import Delta, Signal

REACH, NODES = 8.0, 801
"""Standard deviations to either side, and points between them, at which flat derivatives are counted: to 0.01."""


def median_rms(delta: Delta) -> float:
    """The median over initialisations of the rms of δ."""
    return delta.rms * math.exp(delta.shift / 2)


def expected(blueprint: Blueprint, flow: Flow) -> Ledger:
    """The entries of all sites that a gradient reaches, with the main path that a measured ledger would have."""
    depths = _depths(blueprint, flow)
    reached = [i for i, n in enumerate(blueprint.nodes) if n.site is not None and flow.deltas[i] is not None]
    path: set[int] = set()
    here = max(reversed(reached), key=lambda i: depths[i], default=None)
    while here is not None:
        path.add(here)
        *_, here = (None, *_way_back(blueprint, flow, depths, here))
        if here is not None and blueprint.nodes[here].site is None:
            here = None
    return Ledger(tuple(_entry(blueprint, flow, depths, i, i in path) for i in reached))


def _depths(blueprint: Blueprint, flow: Flow) -> list[int]:
    """Per node, how many sites lie before it on the longest way that a gradient takes."""
    depths: list[int] = []
    for node, handed in zip(blueprint.nodes, flow.handed, strict=True):
        before = (b for b, share in zip(node.inputs, handed, strict=False) if not math.isnan(share))
        depths.append(max((depths[b] + (blueprint.nodes[b].site is not None) for b in before), default=0))
    return depths


def _way_back(blueprint: Blueprint, flow: Flow, depths: list[int], index: int) -> Iterator[int]:
    """The nodes before one on the longest way, up to the next one with a site."""
    while True:
        handed = zip(blueprint.nodes[index].inputs, flow.handed[index], strict=False)
        deepest = max((b for b, share in handed if not math.isnan(share)), key=lambda b: depths[b], default=None)
        if deepest is None:
            return
        yield deepest
        if blueprint.nodes[deepest].site is not None:
            return
        index = deepest


def _entry(blueprint: Blueprint, flow: Flow, depths: list[int], index: int, on_path: bool) -> Entry:
    node, later, previous = blueprint.nodes[index], index, None
    assert node.site is not None
    factors: dict[str, float] = {"branching": 1.0, "other": 1.0}
    for before in _way_back(blueprint, flow, depths, index):
        handed = math.hypot(*(_handed(blueprint, flow, one, before) for one in _outputs(blueprint, flow, later)))
        # of what a call has several outputs of, the size is that of all of them
        whole = handed * _ratio(_merged(blueprint, flow, before), _rms(flow, before))
        effect = node.site.effect if later == index else "other"
        change = _ratio(whole * _shift(flow, before, later), _merged(blueprint, flow, later))
        factors[effect] = factors.get(effect, 1.0) * change
        factors["branching"] *= _ratio(_rms(flow, before), handed)
        previous, later = blueprint.nodes[before].site, before
    if previous is None:  # the way ends in the model's input
        factors = {}
    signal, delta = flow.signals[index], flow.deltas[index]
    assert delta is not None
    count = sum(math.prod(blueprint.nodes[i].law.shape) for i in _outputs(blueprint, flow, index))
    median = _merged(blueprint, flow, index) * _ratio(median_rms(delta), delta.rms) if delta.rms else 0.0
    return Entry(
        node.site,
        previous,
        Reading(count, float(signal.mean.mean()), signal.rms, math.nan),
        Reading(count, 0.0, median, math.nan),
        slope=_slope(node.law, flow.signals[node.inputs[0]]) if isinstance(node.law, Activate) else None,
        on_path=on_path,
        **factors,
    )


def _outputs(blueprint: Blueprint, flow: Flow, index: int) -> list[int]:
    """All outputs of the same call that a gradient reaches, for the first of them; else the node itself."""
    found, after = [index], index + 1
    while after < len(blueprint.nodes) and blueprint.nodes[after].first == index:
        found += [after] if flow.deltas[after] is not None else []
        after += 1
    return found


def _merged(blueprint: Blueprint, flow: Flow, index: int) -> float:
    """The rms of δ over all outputs of the call."""
    outputs = _outputs(blueprint, flow, index)
    counts = [math.prod(blueprint.nodes[i].law.shape) for i in outputs]
    squares = sum(n * _rms(flow, i) ** 2 for n, i in zip(counts, outputs, strict=True))
    return math.sqrt(squares / sum(counts)) if sum(counts) else 0.0


def _handed(blueprint: Blueprint, flow: Flow, later: int, before: int) -> float:
    inputs = blueprint.nodes[later].inputs
    return flow.handed[later][inputs.index(before)] if before in inputs else 0.0


def mean_of(moment: float | np.ndarray | torch.Tensor) -> float:
    """The mean of a moment over all groups and places."""
    return float(torch.as_tensor(moment, dtype=torch.float64).mean())


def _rms(flow: Flow, index: int) -> float:
    delta = flow.deltas[index]
    return math.nan if delta is None else delta.rms


def _shift(flow: Flow, before: int, later: int) -> float:
    """By how much the median of one backward value lies nearer to its mean-field value than that of another."""
    one, other = flow.deltas[before], flow.deltas[later]
    return math.exp((one.shift - other.shift) / 2) if one is not None and other is not None else math.nan


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


# ---------------------------------------------------------------- slopes


def _slope(law: Activate, x: Signal) -> Slope | None:
    """The derivative's statistics for u ~ N(mean, variance), taken at the mean size of all places."""
    if law.effect != "activation":
        return None
    mean = float(x.mean.mean())
    std = math.sqrt(max(x.rms**2 - mean**2, 0.0))
    slopes = _slopes if law.activation.tensors else _slopes_once
    numbers = slopes(law.activation, mean, std) if math.isfinite(std) else (math.nan, math.nan, math.nan)
    facts = traits(law.activation)
    units = x.layout.count("F")
    return Slope(law.activation.name, *numbers, facts.steepest, facts.saturating, units, 0)


def _slopes(activation: Pointwise, mean: float, std: float) -> tuple[float, float, float]:
    """Mean and rms of f′, and the share of it that is flat."""
    z, weights = _grid()
    x = torch.from_numpy(mean + std * z).unsqueeze(1).expand(-1, activation.channels)
    df = activation.derivative(x).detach().double().mean(1).numpy()
    steepest = traits(activation).steepest
    flat = np.abs(df) < (FLAT * steepest if math.isfinite(steepest) else 0.0)
    return float(weights @ df), math.sqrt(float(weights @ df**2)), float(weights @ flat)


_slopes_once = lru_cache(maxsize=1024)(_slopes)


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-REACH, REACH, NODES)
    density = np.exp(-(z**2) / 2)
    return z, density / density.sum()
