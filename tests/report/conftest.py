"""Ledgers, findings and verdicts made by hand, so that a report is tested without training anything."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from undertow.cures import Verdict, Verdicts
from undertow.record import Entry, Ledger, Reading, Site


def make_ledger(layers: int = 20, slope: float = 0.24, weights: float = 0.58, last: float = 1e-2) -> Ledger:
    """Linear layers, each followed by an activation, with the same factors everywhere."""
    entries: list[Entry] = []
    for i in range(2 * layers):
        acts = i % 2 == 1
        site = Site(f"layers.{i}", "sigmoid" if acts else "linear", 0, "activation" if acts else "weights")
        factor = slope if acts else weights
        # Entries after this one still multiply the backward value on its way here.
        ahead = [slope if j % 2 else weights for j in range(i + 1, 2 * layers)]
        size = last
        for f in ahead:
            size *= f
        previous = entries[-1].site if entries else None
        entries.append(
            Entry(
                site,
                previous,
                Reading(64, 0.0, 0.5, 1.0),
                Reading(64, 0.0, size, size),
                activation=factor if acts else 1.0,
                weights=factor if previous and not acts else 1.0,
            )
        )
    return Ledger(tuple(entries))


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return make_ledger()


@pytest.fixture(scope="session")
def ledger_of() -> Callable[..., Ledger]:
    return make_ledger


@pytest.fixture(scope="session")
def verdicts() -> Verdicts:
    def curves(start: float, end: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(end + (start - end) * 0.97**i + 0.01 * seed for i in range(100)) for seed in range(3))

    blown = tuple((*c[:20], float("inf"), *c[21:]) for c in curves(2.3, 2.0))
    return Verdicts(
        (
            Verdict("relu", "cured", 0.1, 0.95, (0.8, 0.9), "model.act = nn.ReLU()", curves=curves(2.3, 0.1)),
            Verdict(
                "batchnorm", "helped", 0.1, 0.6, (0.4, 0.6), "…", curves=curves(2.3, 0.9), remaining=("saturated",)
            ),
            Verdict("learning_rate ×10", "harmed", 0.1, 0.05, (-0.09, -0.01), "…", curves=blown, reason="loss is inf"),
            Verdict("groupnorm", "not applicable", 0.1, math.nan, (-math.inf, math.inf), "", reason="no conv"),
        ),
        (0.1, 0.1, 0.1),
        curves(2.3, 2.3),
        (0, 1, 2),
        100,
        "metric",
    )
