"""Which definition has these values?  Two functions are one where their values are, however they are spelled."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.activations.base import ACTIVATIONS, Activation, Pointwise
from undertow.activations.lookup import activation
from undertow.foundation import InputError

SAME = 1e-12
"""The largest difference, relative to max(1, |f|), of two spellings within |x| ≤ 10, computed in float64.  Ours."""
TAIL = 1e-9
"""The same in the tails: torch's softplus is the identity from 20 on, which is 2e-9 off.  Ours."""
NEAR = 1e-6
"""From here on it is another function; between, a constant was written with few digits, or in float32.  Ours."""
COMBINATIONS = 400
"""Choices of parameters that are tried for one definition.  Ours."""


def _points() -> Tensor:
    inner = torch.linspace(-9.9731, 9.9813, 301, dtype=torch.float64)
    near_zero = torch.tensor([1e-9, 1e-5, 1e-3, 0.0123], dtype=torch.float64)
    outer = torch.linspace(10.313, 31.7, 16, dtype=torch.float64)
    return torch.cat([inner, near_zero, -near_zero, outer, -outer])


POINTS = _points()
_INNER = POINTS.abs() <= 10
_FEW = torch.linspace(0, len(POINTS) - 1, 12).long()


class Alike(NamedTuple):
    """A definition, and how far it is from the function: the largest difference relative to max(1, |f|)."""

    definition: Activation
    difference: float


def alike(values: Tensor, numbers: Iterable[float] = ()) -> Alike | None:
    """The definition whose values at `POINTS` are these, by itself or with some of these numbers as parameters.

    None where all are further than `NEAR`, and for a straight line, which is no activation.
    """
    if not bool(values[_INNER].isfinite().all()) or _straight(values):
        return None
    best: Alike | None = None
    for act, own in _candidates(sorted({n for x in numbers for n in (x, -x, *([1 / x] if x else []))})):
        if own is None and _difference(values[_FEW], _values(act, POINTS[_FEW]), _INNER[_FEW]) > NEAR:
            continue
        difference = _difference(values, _values(act, POINTS) if own is None else own)
        if difference <= SAME:
            return Alike(act, difference)
        if difference <= NEAR and (best is None or difference < best.difference):
            best = Alike(act, difference)
    return best


def _candidates(numbers: list[float]) -> Iterator[tuple[Pointwise, Tensor | None]]:
    """What the function may be, with the values that are known: what nobody trains first, its defaults first."""
    for learned in (False, True):
        known = [(act, own) for act, own in _catalogue() if bool(act.learned) is learned]
        yield from known
        yield from ((act, None) for act in _with_parameters([act for act, _ in known], numbers))


def _difference(values: Tensor, own: Tensor, inner: Tensor = _INNER) -> float:
    """The largest within |x| ≤ 10; ∞ where the tails differ."""
    relative = (values - own).abs() / own.abs().clamp(min=1)
    relative = torch.where(values == own, 0.0, relative).nan_to_num(nan=float("inf"))
    if bool((relative[~inner] > max(TAIL, float(relative[inner].max()) * 10)).any()):
        return float("inf")
    return float(relative[inner].max())


def _straight(values: Tensor) -> bool:
    line = torch.stack([POINTS, torch.ones_like(POINTS)], 1)
    fit = torch.linalg.lstsq(line, values[:, None].nan_to_num()).solution
    return _difference(values, (line @ fit)[:, 0]) <= NEAR


def _values(act: Pointwise, x: Tensor) -> Tensor:
    with torch.no_grad():
        return act.f(x)


_known: dict[str, tuple[Pointwise, Tensor]] = {}


def _catalogue() -> Iterator[tuple[Pointwise, Tensor]]:
    """Every pointwise definition and preset but the identity, with its values at `POINTS`; few parameters first."""
    for name, entry in ACTIVATIONS.items():
        if not issubclass(entry.definition, Pointwise) or name == "identity":
            continue
        known = _known.get(name)
        act = activation(name)
        assert isinstance(act, Pointwise)
        if known is None or known[0] != act:
            _known[name] = act, _values(act, POINTS)
    for name in [n for n in _known if n not in ACTIVATIONS]:
        del _known[name]
    yield from sorted(_known.values(), key=lambda pair: len(pair[0].parameters))


def _with_parameters(acts: list[Pointwise], numbers: list[float]) -> Iterator[Pointwise]:
    """These definitions with these numbers for some of their parameters."""
    for act in {type(a): a for a in acts if a.parameters}.values():
        fields = act.parameters
        if not all(isinstance(v, float) for v in fields.values()):
            continue
        choices = [dict.fromkeys([default, *numbers]) for default in fields.values()]
        for chosen in itertools.islice(itertools.product(*choices), COMBINATIONS):
            try:
                yield dataclasses.replace(act, **dict(zip(fields, chosen, strict=True)))  # pyright: ignore
            except InputError:  # β ≤ 0 where only β > 0 makes sense
                continue
