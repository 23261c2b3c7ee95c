"""Which units are dead: never fired, or silent for longer than their own rate explains."""

from __future__ import annotations

import math

import pytest
import torch

from undertow.diagnosis.units import Units, dead, followed
from undertow.record import Entry, Ledger, Reading, Recording, Site, Slope, Snapshot

SITE = Site("act", "relu", 0, "activation")
ENTRY = Entry(
    SITE, None, Reading(64 * 4, 0, 1, 2), Reading(64 * 4, 0, 1, 2), slope=Slope("relu", 0.5, 0.7, 0, 1, False, 4, 0)
)


def rows(*units: str) -> torch.Tensor:
    """A string a unit, 1 for a step in which it fired."""
    return torch.tensor([[c == "1" for c in unit] for unit in units]).T


@pytest.mark.parametrize(
    ("fired", "since"),
    [
        ("0000000000", 0),
        ("1111111000", 7),
        ("1111111111", 10),
        ("1111111110", 10),  # one silent step of ten: 9/10 of the steps had it, 1 in 10 by chance
        ("0000100000", 10),  # it fires in a quarter of the steps; six silent ones are no surprise
        ("1010101010", 10),
        ("1010100000000000", 5),
    ],
)
def test_a_unit_is_dead_from_the_step_whose_silence_its_rate_does_not_explain(fired: str, since: int) -> None:
    assert dead(rows(fired), 0.01).tolist() == [since]


def test_a_whole_layer_that_falls_silent_at_once_is_dead_after_one_step() -> None:
    assert dead(rows("1110", "1110", "1010", "1110"), 0.01).tolist() == [3, 3, 3, 3]
    assert dead(rows("1110", "1110", "1010", "1111"), 0.01).tolist() == [4, 4, 4, 4]


def recording(*units: str, samples: int = 64) -> Recording:
    alive = rows(*units)
    steps = [Snapshot(i, Ledger((ENTRY,)), samples, alive={"act#0": row}) for i, row in enumerate(alive)]
    return Recording(snapshots=steps)


def test_the_layer_is_reported_since_half_of_it_is_silent() -> None:
    found = followed(recording("11110000", "11000000", "11111111", "00000000"), ENTRY, 0.05, 0.5)
    assert found is not None
    assert (found.dead, found.born, found.since, found.samples) == (0.75, 0.25, 2, 6 * 64)


def test_an_expert_that_sees_a_part_of_the_batch_counts_its_own_samples() -> None:
    found = followed(recording("00000", "00000", "00000", "00000", samples=1000), ENTRY, 0.01, 0.5)
    assert found is not None
    assert found.samples == 5 * 64


def silent(dead: float, count: int, samples: int) -> Units:
    return Units(ENTRY, count, dead, dead, 0, samples)


def test_chance_is_bounded_from_above() -> None:
    for k, count, samples in ((3, 5, 320), (5, 5, 64), (32, 64, 200), (1, 1, 300)):
        p = 0.99**samples
        exact = sum(math.comb(count, i) * p**i * (1 - p) ** (count - i) for i in range(k, count + 1))
        bound = silent(k / count, count, samples).by_chance(0.01)
        assert exact <= bound * (1 + 1e-9) <= 1 + 1e-9
    assert silent(1.0, 1, 300).by_chance(0.01) == pytest.approx(0.99**300)
    assert silent(0.5, 64, 10).by_chance(0.01) == 1.0
    assert silent(0.5, 64, 10**6).by_chance(0.01) == 0.0
