"""From the gradients of a layer's states to its profile along time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from undertow.probe.unrolled.recurrent import State
from undertow.record import TimeReading

MOST_TIMES = 100
"""Steps of a sequence that are kept: what a figure can show.  Ours."""

LEAST = 1e-30
"""Of a gradient whose largest value is 1; float32 ends at 1e-38, and what is near its end can't be compared."""


def profile(
    steps: Sequence[tuple[int, State, State]], gradients: Mapping[int, Tensor | None], scale: float, activation: str
) -> TimeReading:
    """The reading of one way.

    Parameters
    ----------
    steps:
        In the order in which they ran: the time, the state made, and the alias of it that the next step took.
    gradients:
        By the identity of a tensor, of the loss times 1 / `scale`; None where none came.
    activation:
        "tanh" or "relu" of a plain layer, whose output tells its derivative; "" of a gated one.
    """
    totals, directs, carrieds, slopes = [], [], [], []
    for _, made, taken in steps:
        total = [_of(t, gradients) for t in made]
        carried = [_of(t, gradients) for t in taken]
        totals.append(_flat(total))
        carrieds.append(_flat(carried) if carried else totals[-1].new_zeros(1))
        directs.append(_flat([_without(t, c) for t, c in zip(total, carried, strict=True)]) if carried else totals[-1])
        if activation:
            slopes.append(_flat([total[0] * _derivative(activation, made[0])]))
    total, direct, carried = (_norms(group) for group in (totals, directs, carrieds))
    roots = [math.sqrt(t.numel()) for t in totals]
    places = _spread(len(steps))
    sloped = _mean_ratio(_norms(slopes), total) if activation else None
    return TimeReading(
        tuple(steps[i][0] for i in places),
        tuple(scale * total[i] / roots[i] for i in places),
        tuple(scale * direct[i] / roots[i] for i in places),
        _mean_ratio(carried[:-1], total[1:]),
        sloped,
    )


def _of(tensor: Tensor, gradients: Mapping[int, Tensor | None]) -> Tensor:
    found = gradients.get(id(tensor))
    return torch.zeros_like(tensor) if found is None else found


def _without(total: Tensor, carried: Tensor) -> Tensor:
    """Packed sequences: some end here and carry nothing back, backwards some begin later."""
    rows = min(len(total), len(carried))
    return torch.cat((total[:rows] - carried[:rows], total[rows:]))


def _derivative(activation: str, output: Tensor) -> Tensor:
    return 1 - output.detach() ** 2 if activation == "tanh" else (output.detach() > 0).to(output.dtype)


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].flatten() if len(parts) == 1 else torch.cat([p.flatten() for p in parts])


def _norms(tensors: Sequence[Tensor]) -> list[float]:
    return torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors]).tolist() if tensors else []


def _mean_ratio(after: Sequence[float], before: Sequence[float]) -> float:
    """The geometric mean of their ratios where there is anything to compare; NaN where there is nothing."""
    ratios = [a / b for a, b in zip(after, before, strict=True) if LEAST < b < math.inf and math.isfinite(a)]
    if not ratios:
        return math.nan
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if min(ratios) > 0 else 0.0


def _spread(count: int) -> list[int]:
    """All places, or so many evenly spread ones with both ends."""
    if count <= MOST_TIMES:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_TIMES - 1)) for i in range(MOST_TIMES)]
