"""Parameters with which one activation comes as near as it can to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from undertow.activations.base import Pointwise
from undertow.activations.line.grid import on_the_line
from undertow.activations.lookup import activation
from undertow.activations.parameters import is_vector
from undertow.foundation import InputError

P = TypeVar("P", bound=Pointwise)

POINTS = 301
ROUNDS = 100
"""Steps of Levenberg and Marquardt, of which a good start needs a tenth."""
DIFFERENCE = 1e-6
SETTLED = 1e-9
"""The share of the sum of squares that a step has to gain."""
EXACT = 1e-15
"""Differences that are rounding alone."""


class Likeness(NamedTuple):
    """How near a fitted activation comes to the one that it was fitted to."""

    to: str
    low: float
    high: float
    error: float
    """The largest difference between low and high."""

    def __str__(self) -> str:
        return f"{self.to} to {self.error:.2g} on [{self.low:g}, {self.high:g}]"


def fitted(starts: Iterable[P], to: str | Pointwise, low: float = -3.0, high: float = 3.0) -> P:
    """The definition of this class that is nearest to another on [low, high], with its `likeness`.

    Least squares by the method of Levenberg and Marquardt, from each start; of the ends that it comes to the one with
    the smallest largest difference.

    Parameters
    ----------
    starts:
        Definitions of one class, with numbers for parameters.
    to:
        The activation to come near to, or its name.

    Raises
    ------
    UnknownNameError, InputError
        For the name of no activation, one that couples elements, and an empty interval.

    References
    ----------
    Marquardt (1963). An Algorithm for Least-Squares Estimation of Nonlinear Parameters. SIAM Journal on Applied
    Mathematics 11.
    """
    if not low < high:
        raise InputError(f"the interval from {low} to {high}", "low below high", "Rational.like('gelu', -3.0, 3.0)")
    target = on_the_line(activation(to), "Rational.like('gelu')")
    x = torch.linspace(low, high, POINTS, dtype=torch.float64)
    with torch.no_grad():
        y = target(x)
        ends = [end for start in starts for end in (start, _numbers(start, _descended(start, x, y))) if end]
        errors = [_difference(end, x, y) for end in ends]
    error, best = min(zip(errors, ends, strict=True), key=lambda pair: pair[0])
    object.__setattr__(best, "likeness", Likeness(target.label, low, high, error))
    return best


def _difference(act: Pointwise, x: Tensor, y: Tensor) -> float:
    return (act.f(x) - y).abs().max().nan_to_num(nan=torch.inf).item()


def _descended(act: Pointwise, x: Tensor, y: Tensor) -> Tensor:
    """The parameters with the least sum of squares that a descent from these ones comes to."""
    p = _flat(act)

    def residuals(columns: Tensor) -> Tensor:
        """For several sets of parameters, (n, sets), at once: each is a channel."""
        points = x.unsqueeze(1).expand(-1, columns.shape[1])
        return _with(act, columns).placed(points).f(points) - y.unsqueeze(1)

    def residual(p: Tensor) -> Tensor:
        return residuals(p.unsqueeze(1)).squeeze(1)

    r, damping = residual(p), 1e-3
    for _ in range(ROUNDS):
        h = DIFFERENCE * (1 + p.abs())
        ahead, behind = residuals(torch.cat([p + torch.diag(h), p - torch.diag(h)]).T).chunk(2, 1)
        j = (ahead - behind) / (2 * h)
        normal, downhill = j.T @ j, j.T @ r
        step = torch.linalg.lstsq(normal + damping * torch.diag(normal.diagonal() + 1e-12), -downhill).solution
        tried = residual(p + step)
        if tried.square().sum() < r.square().sum():
            gained = 1 - tried.square().sum() / r.square().sum()
            p, r, damping = p + step, tried, max(damping / 5, 1e-15)
            if gained < SETTLED or r.abs().max() < EXACT:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return p


def _flat(act: Pointwise) -> Tensor:
    values = [v if isinstance(v, tuple) else (v,) for v in act.parameters.values()]
    return torch.tensor([n for several in values for n in several], dtype=torch.float64)


def _with(act: P, p: Tensor) -> P:
    """The definition with these parameters, of shape (n,) or (n, channels), as tensors."""
    parts: dict[str, Tensor] = {}
    for f in dataclasses.fields(act):  # pyright: ignore[reportArgumentType]
        n = len(getattr(act, f.name)) if is_vector(f) else 1
        parts[f.name], p = (p[:n] if is_vector(f) else p[0]), p[n:]
    return dataclasses.replace(act, **parts)  # pyright: ignore


def _numbers(act: P, p: Tensor) -> P | None:
    """The definition with these parameters, as numbers; None where they are not what it takes, as low > high."""
    parts = {n: tuple(v.tolist()) if v.ndim else v.item() for n, v in _with(act, p).tensors.items()}
    try:
        return dataclasses.replace(act, **parts)  # pyright: ignore
    except InputError:
        return None
