"""A forecast beside measurements of real backward passes, site by site."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from undertow.diagnosis.diagnosis import Diagnosis
from undertow.diagnosis.run import examine
from undertow.foundation import InputError, LossError
from undertow.record import Ledger
from undertow.theory import Forecast, SiteForecast

ACCURACY = 0.05
"""What theory itself may be off, beside the scatter of initialisations; measured, see docs/forecast-accuracy.md."""
MOST_OUTSIDE = 0.1
"""The share of sites outside their interval of 95 % with which a forecast still holds: sites of one initialisation are
off together."""


@dataclass(frozen=True)
class Compared:
    """One site.  Backward sizes are those of a last site with the measured gradient."""

    forecast: SiteForecast
    expected: float
    low: float
    high: float
    measured: float
    """Median over the seeds; NaN where the site was not measured."""
    measured_forward: float

    @property
    def ratio(self) -> float:
        """Measured over forecast."""
        return self.measured / self.expected if self.expected else (1.0 if self.measured == 0 else math.inf)

    @property
    def within(self) -> bool:
        """Whether the measured size lies in the interval, give or take what theory itself may be off."""
        return self.low * (1 - ACCURACY) <= self.measured <= self.high * (1 + ACCURACY)


@dataclass(frozen=True)
class Comparison:
    """A forecast, and the median of the measurements of one or more initialisations."""

    forecast: Forecast
    sites: tuple[Compared, ...]
    seeds: int
    missing: tuple[str, ...] = ()
    """Sites that were measured and have no forecast."""

    @property
    def judged(self) -> tuple[Compared, ...]:
        """The sites that were measured."""
        return tuple(s for s in self.sites if not math.isnan(s.measured))

    @property
    def outside(self) -> tuple[Compared, ...]:
        return tuple(s for s in self.judged if not s.within)

    @property
    def holds(self) -> bool:
        """Whether at least nine of ten measured sites lie within their interval."""
        return bool(self.judged) and len(self.outside) <= MOST_OUTSIDE * len(self.judged)


def compare(forecasts: Sequence[Forecast], ledgers: Sequence[Ledger]) -> Comparison:
    """Sets the measured ledgers of one architecture beside the forecasts of the same initialisations.

    Each forecast is given the measured gradient of its own last site, and the medians over the seeds are compared.

    Raises
    ------
    InputError
        Not one forecast for each ledger.
    """
    if not forecasts or len(forecasts) != len(ledgers):
        got = f"{len(forecasts)} forecasts and {len(ledgers)} ledgers"
        raise InputError(got, "one forecast for each ledger", "compare([forecast], [diagnosis.ledger])")
    pairs = [_paired(f, ledger) for f, ledger in zip(forecasts, ledgers, strict=True)]
    found = []
    for site in forecasts[0].sites:
        name = site.site.name
        rows = [p[name] for p in pairs if name in p]
        found.append(Compared(site, *(median(row[i] for row in rows) for i in range(5))))
    known = {s.site.name for s in forecasts[0].sites}
    missing = tuple(e.site.name for e in ledgers[0] if e.site.name not in known)
    return Comparison(forecasts[0], tuple(found), len(ledgers), missing)


def _paired(forecast: Forecast, ledger: Ledger) -> dict[str, tuple[float, float, float, float, float]]:
    """By site: the median, the interval's ends, and the measured backward and forward size."""
    entries = {e.site.name: e for e in ledger}
    last = next((s for s in reversed(forecast.path) if s.site.name in entries and s.backward_rms), None)
    scale = entries[last.site.name].backward_rms / last.backward_rms if last else math.nan
    found = {}
    for site in forecast.sites:
        entry = entries.get(site.site.name)
        sizes = (site.backward_rms * scale, site.low * scale, site.high * scale)
        seen = (entry.backward_rms, entry.forward_rms) if entry else (math.nan, math.nan)
        found[site.site.name] = (*sizes, *seen)
    return found


def measured(model: nn.Module, inputs: Any, seed: int = 0) -> Ledger:
    """The ledger of one backward pass from a standard normal ∂L/∂output, in training mode; the model is not changed.

    Raises
    ------
    ModelError, BatchError
        As `examine`.
    LossError
        The model's output holds no tensor with a gradient.
    """
    return one_pass(model, inputs, seed).ledger


def one_pass(model: nn.Module, inputs: Any, seed: int = 0) -> Diagnosis:
    """The diagnosis of the pass that `measured` measures.

    Raises
    ------
    ModelError, BatchError, LossError
        As above.
    """
    return examine(model, inputs, _random_loss(seed))


def _random_loss(seed: int) -> Callable[[nn.Module, Any], Tensor]:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        if hasattr(batch, "keys"):
            output = model(**batch)
        else:
            output = model(*batch) if isinstance(batch, tuple | list) else model(batch)
        made = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.requires_grad]
        if not made:
            raise LossError("an output without a gradient", "a tensor computed with the weights", "return model(x)")
        toss = torch.Generator().manual_seed(seed)
        return (made[0] * torch.randn(made[0].shape, generator=toss).to(made[0])).sum()

    return loss
