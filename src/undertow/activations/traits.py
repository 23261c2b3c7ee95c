"""How steep an activation is, where it is flat, where it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from undertow.activations.base import Activation, Pointwise
from undertow.activations.line.grid import FAR, Function, channels, function, grid, on_the_line

FLAT = 1e-3
"""Flat: |f′| below this share of the steepest.  Our choice."""


@dataclass(frozen=True)
class Traits:
    """What was measured of one activation over the whole line, in float64; exact to about 1e-9."""

    steepest: float
    """sup |f′|, the Lipschitz constant; inf where it grows without bound."""
    lowest: float
    """inf f′."""
    highest: float
    """sup f′."""
    flat_left: bool
    """|f′| goes to less than 1/1000 of the steepest at −∞; `flat_right` at +∞."""
    flat_right: bool
    saturating: bool
    """Flat at both ends."""
    monotone: bool
    odd: bool
    even: bool
    limits: tuple[float, float]
    """f(−∞) and f(+∞); NaN where there is none."""
    range: tuple[float, float]
    """Lowest and highest value, or the limits that f comes as near to as one likes."""
    end_slopes: tuple[float, float]
    """f′(−∞) and f′(+∞); NaN where there is none."""

    @property
    def bounded(self) -> bool:
        return all(map(math.isfinite, self.range))


def traits(act: Activation) -> Traits:
    """Measure an activation; a definition without tensors is measured once.

    Where a parameter differs by channel, the extremes are over all channels and the statements hold for each.

    Raises
    ------
    InputError
        For an activation that couples elements (softmax, the funnel): it has no one f′ of one x.
    """
    single = on_the_line(act, "traits(activation('relu'))")
    return _measured(single) if single.tensors else _measured_once(single)


@lru_cache(maxsize=1024)
def _measured_once(act: Pointwise) -> Traits:
    return _measured(act)


def _measured(act: Pointwise) -> Traits:
    f, df = function(act, 0), function(act, 1)
    with torch.no_grad():
        x = grid(act)
        y, mirrored, slopes = f(x), f(-x), df(x)
        lowest, highest = _unbounded(act, *_extremes(df, x, slopes))
        low, high = _extremes(f, x, y)
        limits = _limit(f, x, -1), _limit(f, x, 1)
        end_slopes = _limit(df, x, -1), _limit(df, x, 1)
        tending = [v for v in end_slopes if not math.isnan(v)]
        lowest, highest = min([lowest, *tending]), max([highest, *tending])
        reference = slopes[slopes.isfinite()].abs().max().item()
        left, right = (_end(slopes.abs(), x, side) < FLAT * reference for side in (-1, 1))
        ends = [v for v in limits if not math.isnan(v)]
        return Traits(
            steepest=max(abs(lowest), abs(highest)),
            lowest=lowest,
            highest=highest,
            flat_left=left,
            flat_right=right,
            saturating=left and right,
            monotone=_monotone(y),
            odd=_same(mirrored, -y),
            even=_same(mirrored, y),
            limits=limits,
            range=(min([low, *ends]), max([high, *ends])),
            end_slopes=end_slopes,
        )


def _extremes(function: Function, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Lowest and highest value, refined between the grid's points."""
    return -_highest(lambda t: -function(t), x, -y), _highest(function, x, y)


def _highest(function: Function, x: Tensor, y: Tensor) -> float:
    y = y.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    row, column = divmod(int(y.argmax()), y.shape[1])
    best = y[row, column].item()
    low, high = x[max(row - 1, 0), 0].item(), x[min(row + 1, len(x) - 1), 0].item()
    for _ in range(6):  # each round narrows the bracket 50 times
        points = torch.linspace(low, high, 101, dtype=torch.float64).unsqueeze(1).expand(-1, x.shape[1])
        values = function(points)[:, column].nan_to_num(nan=-math.inf)
        i = int(values.argmax())
        best = max(best, values[i].item())
        low, high = points[max(i - 1, 0), 0].item(), points[min(i + 1, 100), 0].item()
    return best


def _unbounded(act: Pointwise, lowest: float, highest: float) -> tuple[float, float]:
    """±inf for an extreme of f′ that is passed by half further out, as by x²."""
    further = torch.tensor([-1e8, 1e8], dtype=torch.float64).unsqueeze(1)
    slopes = function(act, 1)(further.expand(-1, channels(act))).nan_to_num(nan=0.0)
    return (
        -math.inf if slopes.min().item() < 1.5 * min(lowest, 0) else lowest,
        math.inf if slopes.max().item() > 1.5 * max(highest, 0) else highest,
    )


def _end(size: Tensor, x: Tensor, side: int) -> float:
    """The largest |f′| in the last half of the line to this side; inf outside the function's domain."""
    there = size[x * side >= FAR / 2]
    known = there[~there.isnan()]
    return known.max().item() if known.numel() else math.inf


def _limit(function: Function, x: Tensor, side: int) -> float:
    """f(±∞): the value there, else what far values agree on, else ±inf where they grow, else NaN."""
    row = torch.full_like(x[:1], side * math.inf)
    exact = function(row).flatten()
    if not exact.isnan().any():
        return exact[0].item() + 0.0 if (exact == exact[0]).all() else math.nan
    out = function(side * torch.logspace(12, 15, 4, dtype=torch.float64).unsqueeze(1).expand(-1, x.shape[1]))
    if (out - out[-1, 0]).abs().max() <= 1e-9 * (1 + out[-1, 0].abs()):
        return round(out[-1, 0].item(), 9) + 0.0
    grows = (out[1:].abs() > 2 * out[:-1].abs()).all() and (out.sign() == out[-1, 0].sign()).all()
    return math.copysign(math.inf, out[-1, 0].item()) if grows else math.nan


def _monotone(y: Tensor) -> bool:
    """Whether every channel only rises or only falls, rounding aside."""
    y = y[y.isfinite().all(dim=1)]
    rise, slack = y.diff(dim=0), 1e-12 * torch.maximum(y[1:].abs(), y[:-1].abs()) + 1e-15
    return bool(((rise >= -slack).all(dim=0) | (rise <= slack).all(dim=0)).all())


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-12, atol=1e-300, equal_nan=True)
