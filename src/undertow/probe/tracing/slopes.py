"""Statistics of an activation's own derivative over the inputs that it received."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from undertow.activations import Activation, Pointwise, applied, recognise_call, traits
from undertow.activations.evaluate import numbers
from undertow.native.slopes import SlopeStatistics, derivative, slope_statistics, statistics_of_slopes, takes
from undertow.probe.sharing.sharding import local
from undertow.record import Slope
from undertow.record.flow import FLAT
from undertow.record.operations import operation_name

MOST_WAYS = 256
"""Activations that are remembered.  Ours."""


class Measured(NamedTuple):
    """What was measured of f′ at one call."""

    way: Way
    channels_first: bool
    statistics: SlopeStatistics

    @property
    def alive(self) -> Tensor:
        """Per unit, whether f′ differs from 0 for any sample."""
        return self.statistics.alive

    @property
    def slope(self) -> Slope:
        found, facts = self.statistics, self.way.facts
        return Slope(
            activation=self.way.activation.name,
            mean=found.mean,
            rms=found.rms,
            flat=found.flat / found.count,
            steepest=facts.steepest,
            saturating=facts.saturating,
            units=len(found.alive),
            dead=found.dead,
        )


@dataclass(eq=False)
class Slopes:
    """Remembers what was recognised, so that each kind of call is looked up once."""

    spellings: dict[Any, Any] = field(default_factory=dict)
    """What is spelled in several calls, by how (`Spelled.known`)."""
    _known: dict[Any, Activation | None] = field(default_factory=dict)
    _ways: dict[int, Way] = field(default_factory=dict)

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

    def measure(self, activation: Activation, x: Tensor, channels_first: bool) -> Measured | None:
        """The slope statistics; None for softmax and the funnel, whose f′ is no function of one number."""
        x, way = local(x), self.way(activation)
        if way is None or not x.numel():
            return None
        return Measured(way, channels_first, way.measure(x, channels_first))

    def way(self, activation: Activation) -> Way | None:
        """How its slope is measured; None as for `measure`."""
        way = self._ways.get(id(activation))
        if way is None:
            if not isinstance(activation, Pointwise):
                return None
            if len(self._ways) >= MOST_WAYS:  # a trained slope is another activation at each call
                self._ways.clear()
            way = self._ways[id(activation)] = Way(activation)
        return way


class Way:
    """How the slopes of one activation are measured."""

    def __init__(self, activation: Pointwise) -> None:
        self.activation = activation  # kept, so that its id stays its own
        self.facts = traits(activation)
        self._flat = FLAT * self.facts.steepest if math.isfinite(self.facts.steepest) else 0.0
        standard = activation.name == getattr(type(activation), "name", None) and not activation.tensors
        self._kernel = activation.name if standard else ""  # a user's own function may be called "gelu" too
        self._parameters = numbers(activation) if standard else ()
        self.rectified = self._kernel == "relu"
        """Its output tells f′ as well as its input does: f′(x) = f′(f(x)), 1 where the output is not 0."""
        self.derivative = derivative(self._kernel, self._parameters, self._flat)
        """For the kernel that measures f′ into a row; None where there is none for this function."""

    def measure(self, x: Tensor, channels_first: bool) -> SlopeStatistics:
        if takes(self._kernel, x):
            return slope_statistics(self._kernel, self._parameters, x, self._flat, channels_first)
        return statistics_of_slopes(self.activation.derivative(x.detach()), self._flat, channels_first)
