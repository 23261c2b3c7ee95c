"""The initialisations that one may choose for an activation, and what becomes of a deep network with each."""

from __future__ import annotations

from typing import NamedTuple

from undertow.activations import Pointwise
from undertow.foundation import InputError, say
from undertow.theory import Critical, Criticality, Direction, critical_point, criticality, gain, half_stable
from undertow.theory.criticality import torch_default

FAN_IN = 512
"""The width at which torch's default is shown; its biases get smaller with it."""


DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


class Choice(NamedTuple):
    key: str
    """torch, forward, backward, both (where they are one), critical, half_stable, or own."""
    found: Criticality

    @property
    def title(self) -> str:
        return say(f"activations.choices.{self.key}", width=FAN_IN)


def choices(act: Pointwise) -> list[Choice]:
    """torch's default, the gains without biases, the critical point at variance 1 and the half-stable one.

    Each where there is one: a function that is constant where inputs are has no gains, sigmoid no biases for which
    variance 1 is critical.
    """
    found = [Choice("torch", torch_default(act, FAN_IN))]
    gains = {key: square for key in DIRECTIONS if (square := _squared_gain(act, key))}
    if len({round(square, 9) for square in gains.values()}) == 1:
        gains = {"both": next(iter(gains.values()))}
    found += [Choice(key, criticality(act, square)) for key, square in gains.items()]
    for key, point in (("critical", _critical(act)), ("half_stable", half_stable(act))):
        if point is not None and point.feasible and point.q and "both" not in gains:
            found.append(Choice(key, criticality(act, point.sigma_w2, max(point.sigma_b2, 0.0), start=point.q)))
    return found


def _squared_gain(act: Pointwise, direction: Direction) -> float | None:
    try:
        return gain(act, direction) ** 2
    except InputError:
        return None


def _critical(act: Pointwise) -> Critical | None:
    try:
        point = critical_point(act, q=1.0)
        return point if point.feasible else critical_point(act, sigma_b2=0.0)
    except InputError:
        return None
