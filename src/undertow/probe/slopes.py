"""Statistics of an activation's own derivative over the inputs that it received."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from undertow.activations import Activation, Pointwise, Traits, applied, recognise_call, traits
from undertow.probe.operations import operation_name
from undertow.record import Slope

FLAT = 0.05
"""A slope below 5 % of the steepest counts as flat: there a unit learns twenty times slower than at its best."""


@dataclass(eq=False)
class Slopes:
    """Remembers what was recognised, so that each kind of call is looked up once."""

    spellings: dict[Any, Activation | None] = field(default_factory=dict)
    """Activations in several calls, by how they are spelled."""
    _known: dict[Any, Activation | None] = field(default_factory=dict)
    _traits: dict[int, tuple[Activation, Traits]] = field(default_factory=dict)

    def recognise(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
        """The activation that this call computes on a floating tensor, or None."""
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        if function is applied:
            return args[1]
        plain = (args[1:], tuple(kwargs.items()))
        if any(isinstance(v, Tensor) for v in args[1:]) or any(isinstance(v, Tensor) for v in kwargs.values()):
            return recognise_call(operation_name(function), args, kwargs)
        try:
            key = (function, plain)
            if key not in self._known:
                self._known[key] = recognise_call(operation_name(function), args, kwargs)
        except TypeError:  # a list or another unhashable argument: no activation takes one
            return None
        return self._known[key]

    def measure(self, activation: Activation, x: Tensor, channels_first: bool) -> tuple[Slope, Tensor] | None:
        """The slope statistics, and per unit whether any sample has f′ ≠ 0; None for softmax and the funnel."""
        if not isinstance(activation, Pointwise) or not x.numel():
            return None
        facts = self._facts(activation)
        slope = activation.derivative(x)
        batch = slope if x.ndim > 1 else slope.view(1, -1)
        alive = batch.movedim(1 if channels_first and x.ndim > 2 else -1, 0).flatten(1).ne(0).any(1)
        size = slope.abs()
        return Slope(
            activation=activation.name,
            mean=slope.mean().item(),
            rms=slope.double().square().mean().sqrt().item(),
            flat=size.lt(FLAT * facts.steepest).float().mean().item() if math.isfinite(facts.steepest) else 0.0,
            steepest=facts.steepest,
            saturating=facts.saturating,
            units=len(alive),
            dead=int((~alive).sum()),
        ), alive

    def _facts(self, activation: Activation) -> Traits:
        if id(activation) not in self._traits:
            self._traits[id(activation)] = (activation, traits(activation))
        return self._traits[id(activation)][1]
