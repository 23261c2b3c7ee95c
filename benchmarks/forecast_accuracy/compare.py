"""Forecast against measurement: the arithmetic of the table, all of it on numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.forecast_accuracy.witness import Measured

from undertow.diagnosis.comparison import ACCURACY


class Expected(NamedTuple):
    """What a forecast says of one site, the interval that of the backward rms."""

    forward: float
    backward: float
    low: float
    high: float


class Foretold(NamedTuple):
    sites: dict[str, Expected]
    """In the order of the forward pass."""
    weights: dict[str, float]
    """Norms of the parameters' gradients."""
    flags: tuple[str, ...]
    """What the forecast says that it can't be sure of."""
    seconds: float


class Pair(NamedTuple):
    """One seed of a case, measured and foretold."""

    measured: Measured
    foretold: Foretold

    @property
    def common(self) -> list[str]:
        """The sites that both have, in the order of the forward pass."""
        return [s for s in self.foretold.sites if s in self.measured.sites]

    @property
    def scale(self) -> float:
        """Measured over forecast backward value at the last site: theory takes what the loss gives there as given."""
        last = self.common[-1]
        return self.measured.sites[last].backward / self.foretold.sites[last].backward

    def error(self, site: str) -> float:
        """ln of the forecast over the measured backward rms, both relative to the last site."""
        return math.log(self.foretold.sites[site].backward * self.scale / self.measured.sites[site].backward)

    def forward_error(self, site: str) -> float:
        return math.log(self.foretold.sites[site].forward / self.measured.sites[site].forward)

    def inside(self, site: str, beside: float = 0.0) -> bool:
        """Whether the measured backward rms lies in the interval, or beside it by no more than this share."""
        expected, measured = self.foretold.sites[site], self.measured.sites[site].backward
        return expected.low * self.scale * (1 - beside) <= measured <= expected.high * self.scale * (1 + beside)


def end_to_end(pairs: Sequence[Pair]) -> float:
    """The median over the seeds of ln(forecast/measured) of the backward rms at the first site over the last."""
    return statistics.median(p.error(p.common[0]) for p in pairs)


def decades(pairs: Sequence[Pair]) -> float:
    return abs(end_to_end(pairs)) / math.log(10)


def relative(pairs: Sequence[Pair]) -> float:
    """By how much of the measured ratio the forecast's is off, end to end."""
    return abs(math.expm1(end_to_end(pairs)))


def per_layer(pairs: Sequence[Pair], layers: int) -> float:
    """The same of the factor of one layer, the geometric mean over them."""
    return abs(math.expm1(end_to_end(pairs) / layers))


def worst_site(pairs: Sequence[Pair]) -> float:
    """The largest error of any site's seed median, as a share of the measured value."""
    return max(abs(math.expm1(statistics.median(p.error(s) for p in pairs))) for s in pairs[0].common)


def worst_forward(pairs: Sequence[Pair]) -> float:
    return max(abs(math.expm1(statistics.median(p.forward_error(s) for p in pairs))) for s in pairs[0].common)


def median_site(pairs: Sequence[Pair]) -> float:
    """The error of a site's backward rms as a share of the measured one, the median over sites and seeds."""
    return statistics.median(abs(math.expm1(p.error(s))) for p in pairs for s in p.common)


def sites_outside(pairs: Sequence[Pair]) -> float:
    """The share of all sites of all seeds that `undertow forecast --measure` calls a miss."""
    return statistics.mean(not p.inside(s, ACCURACY) for p in pairs for s in p.common)


def outside(pairs: Sequence[Pair]) -> float:
    """The share of the seeds whose end-to-end ratio lies outside the interval of the first site."""
    return statistics.mean(not p.inside(p.common[0]) for p in pairs)


def weights(pairs: Sequence[Pair]) -> float:
    """|forecast/measured − 1| of the gradient norm of a weight, given the cotangent: the median over the weights of
    what the seeds' median is off."""
    names = [w for w in pairs[0].foretold.weights if w in pairs[0].measured.weights]
    ratios = ((p.foretold.weights[w] * p.scale / p.measured.weights[w] for p in pairs) for w in names)
    return statistics.median(abs(statistics.median(of_seeds) - 1) for of_seeds in ratios)
