"""What the gradient of a real model will do, before its first step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from torch import nn

from undertow.foundation import Effect, UnknownNameError
from undertow.record import Site
from undertow.theory.blueprint import Blueprint
from undertow.theory.propagate import Flow, propagate
from undertow.theory.reading import read
from undertow.theory.signal import Delta

SIDES = 1.96
"""Standard deviations of a normal variable to either side that hold 95 % of it."""


@dataclass(frozen=True)
class SiteForecast:
    """What theory says of one site.  Sizes are root mean squares; those of δ for an output whose δ has rms 1."""

    site: Site
    previous: Site | None
    """The site before it on the way of the signal; of several, the first."""
    forward_rms: float
    backward_rms: float
    """The median over random initialisations."""
    low: float
    high: float
    """Between them lie 95 % of initialisations, by the log-normal law of layers of finite width."""
    factor: float
    """rms δ(previous) / rms δ(site), as in a ledger; 1 where there is no previous site."""
    effect: Effect
    flags: tuple[str, ...] = ()
    """Why the numbers may be off: keys of the messages `forecast.flags`."""


@dataclass(frozen=True)
class Forecast:
    """The forecast of one model (or blueprint) for one input."""

    blueprint: Blueprint
    flow: Flow

    @cached_property
    def sites(self) -> tuple[SiteForecast, ...]:
        """In the order of the forward pass; sites that no gradient reaches are left out."""
        found = []
        for index, node in enumerate(self.blueprint.nodes):
            delta = self.flow.deltas[index]
            if node.site is None or delta is None:
                continue
            before = self._before(index)
            earlier = self.flow.deltas[before] if before is not None else None
            middle, low, high = interval(delta)
            found.append(
                SiteForecast(
                    site=node.site,
                    previous=self.blueprint.nodes[before].site if before is not None else None,
                    forward_rms=self.flow.signals[index].rms,
                    backward_rms=middle,
                    low=low,
                    high=high,
                    factor=1.0 if earlier is None or not middle else interval(earlier)[0] / middle,
                    effect=node.site.effect,
                    flags=self.flow.flags[index],
                )
            )
        return tuple(found)

    def _before(self, index: int) -> int | None:
        """The node with a site that comes first on the way back."""
        waiting = list(self.blueprint.nodes[index].inputs)
        while waiting:
            source = waiting.pop(0)
            if self.blueprint.nodes[source].site is not None:
                return source
            waiting += self.blueprint.nodes[source].inputs
        return None

    @property
    def end_to_end(self) -> float:
        """Backward rms at the first site over that at the last: what the depth leaves."""
        if not self.sites or not self.sites[-1].backward_rms:
            return math.nan
        return self.sites[0].backward_rms / self.sites[-1].backward_rms

    def __getitem__(self, site: str) -> SiteForecast:
        """The forecast of a site by its name, which for the first call may go without its index (`act3`)."""
        found = next((s for s in self.sites if site in (s.site.name, s.site.short)), None)
        if found is None:
            names = [s.site.short for s in self.sites]
            near = " or ".join(get_close_matches(site, names, n=3, cutoff=0.3)) or "forecast.sites"
            raise UnknownNameError(f"the site {site!r}", f"one of {len(names)} sites", near)
        return found


def interval(delta: Delta) -> tuple[float, float, float]:
    """Median, and the ends of the 95 % interval, of the rms of δ at finite width.

    ln ‖δ‖² is normal with mean −β/2 around the mean-field value and variance β: Hanin, Nica (2020), arXiv:1812.05994.
    """
    middle = delta.rms * math.exp(-delta.spread / 4)
    reach = math.exp(SIDES * math.sqrt(delta.spread) / 2)
    return middle, middle / reach, middle * reach


def forecast(model: nn.Module | Blueprint, inputs: Any = None) -> Forecast:
    """What the gradient of `model` will do at its present weights, by theory: nothing is trained or changed.

    Parameters
    ----------
    model:
        Any module whose forward pass takes `inputs`; or a blueprint.
    inputs:
        A batch as the model will see it: a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises
    ------
    ModelError, InputError
        As `undertow.theory.reading.read`.
    """
    blueprint = model if isinstance(model, Blueprint) else read(model, inputs)
    return Forecast(blueprint, propagate(blueprint))
