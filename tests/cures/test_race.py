"""The race: who goes on, what it costs, and that stopping in between changes no run."""

from __future__ import annotations

import math

import pytest
import torch
from cure_nets import mlp, training
from torch import nn

from undertow.cures import Training, chosen, run
from undertow.cures.search.race import affordable, checked_budget, cost, race, rungs
from undertow.foundation import InputError


def make(seed: int = 0) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
    return training(model, batches=60, metric=lambda m: -float(m(torch.ones(1, 6)).square().sum()))


@pytest.mark.parametrize("steps", [3, 30, 280, 10_000])
@pytest.mark.parametrize("lanes", [1, 2, 7, 27, 60])
def test_rungs_end_with_one_lane_at_the_last_step(lanes: int, steps: int):
    found = rungs(lanes, steps)
    counts, untils = zip(*found, strict=True)
    assert counts[0] == lanes
    assert (found[-1][1], counts[-1]) == (steps, 1 if len(found) > 1 else lanes)
    assert list(untils) == sorted(set(untils))
    assert list(counts) == sorted(counts, reverse=True)


@pytest.mark.parametrize("trainings", [1.0, 2.0, 3.0, 5.5])
def test_what_is_affordable_costs_no_more(trainings: float):
    lanes = affordable(trainings, 280)
    assert cost(lanes, 280) <= trainings < cost(lanes + 1, 280)


def test_a_lane_that_rests_trains_as_one_that_does_not():
    """Dropout and data are the lane's own, whatever runs in between."""
    raced = race(make, [None, *chosen(["adam", "relu", "clip_norm", "elu", "swish"])], 45, seed=3)
    assert [lane.steps for lane in raced] == [45, 15, 15, 5, 5, 5]
    whole = run(make(), 45, seed=3, cure=raced[0].cure, diagnose=False)
    assert raced[0].last == whole.metric


def test_the_best_goes_on_and_what_fails_is_last():
    class Crash(type(chosen("adam")[0])):
        def change(self, training: Training) -> None:
            raise RuntimeError("no such device")

    def told(lane):
        seen.append((lane.cure.label, lane.steps))

    seen: list[tuple[str, int]] = []
    raced = race(make, [Crash(), *chosen(["learning_rate", "adam"])], 30, seed=0, done=told)
    assert raced[-1].reason == "RuntimeError: no such device"
    assert math.isnan(raced[-1].last)
    first = [lane.metrics[10] for lane in raced[:-1]]
    assert first[0] == max(first)
    assert len(seen) == sum(count for count, _ in rungs(4, 30)) == 5


def test_a_network_that_diverges_is_out():
    raced = race(lambda: training(mlp(nn.ReLU), lr=0.1, batches=30), chosen(["learning_rate ×10", "adam"]), 20, seed=0)
    assert raced[0].cure
    assert all(math.isfinite(v) for v in raced[0].metrics.values())


@pytest.mark.parametrize(
    ("given", "meant"),
    [(600, (600.0, "s")), ("90s", (90.0, "s")), ("5m", (300.0, "s")), ("1.5h", (5400.0, "s")), ("10x", (10.0, "x"))],
)
def test_budgets(given, meant):
    assert checked_budget(given) == meant


@pytest.mark.parametrize("given", ["", "5", "x", "-3m", 0, "5 min", None, float("inf")])
def test_what_is_no_budget_is_refused(given):
    with pytest.raises(InputError, match="budget="):
        checked_budget(given)
