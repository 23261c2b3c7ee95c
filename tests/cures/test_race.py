"""The race: who goes on, what it costs, and who joins in the middle; with results that are laid down, not trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from undertow.cures import Cure, Trial, chosen
from undertow.cures.search.race import FEWEST, checked_budget, race, schedule
from undertow.foundation import InputError

ADAM, RELU, ELU, SELU, CLIP, SWISH = chosen(["adam", "relu", "elu", "selu", "clip_norm", "swish"])


class Laid:
    """Measures by tables: metric and loss of a cure by its label and step."""

    def __init__(
        self, metric: Callable[[str, int], float], loss: Callable[[str, int], float] = lambda n, u: 1.0
    ) -> None:
        self.metric, self.loss = metric, loss or (lambda label, until: 1.0)
        self.at: dict[str, int] = {}
        self.draws: list[int] = []
        self.trained = 0

    def __call__(self, cures: Sequence[Cure], until: int, draw: int) -> list[Trial]:
        self.draws.append(draw)
        return [self._one(cure.label, until) for cure in cures]

    def _one(self, label: str, until: int) -> Trial:
        self.trained += until
        self.at[label] = until
        metric = self.metric(label, until)
        return Trial(metric, (self.loss(label, until),) * until, "diverged" if math.isnan(metric) else "")


def none(leaders: list[Cure]) -> list[Cure]:
    return []


@pytest.mark.parametrize("steps", [1, 3, 30, 280, 10_000])
@pytest.mark.parametrize("trainings", [0.5, 2.0, 4.0, 14.0])
@pytest.mark.parametrize("lanes", [1, 2, 7, 60])
def test_a_race_is_as_wide_as_its_budget_allows(lanes: int, trainings: float, steps: int):
    found = schedule(lanes, steps, trainings)
    assert found.first <= lanes
    assert found.cost <= trainings * steps or found.first == min(lanes, 3)
    if found.first < lanes:
        assert schedule(lanes, steps, 2 * trainings).first > found.first or found.first == 3
    assert list(found.untils) == sorted(set(found.untils))
    assert found.untils[0] >= min(FEWEST, steps)
    assert found.untils[-1] <= max(steps, FEWEST)


@pytest.mark.parametrize("steps", [3, 46, 230, 5000])
def test_it_costs_no_more_than_was_planned(steps: int):
    cures = chosen(["relu", "elu", "selu", "swish", "gelu", "prelu", "leaky_relu", "tanh", "adam", "adamw", "rmsprop"])
    laid = Laid(lambda label, until: len(label) / 100)
    lanes = race(cures, laid, steps, 4.0, lambda leaders: chosen(["batch_norm", "layer_norm", "residual", "wider"]))
    assert laid.trained <= schedule(len(cures), steps, 4.0).cost
    assert laid.draws == sorted(laid.draws)
    assert len(set(laid.draws)) == len(schedule(len(cures), steps, 4.0).untils), "a seed of its own for each rung"
    assert len(lanes) == len(laid.at)


def test_the_best_comes_first_and_what_failed_last():
    metrics = {"adam": 0.5, "relu": math.nan, "elu": 0.9, "selu": 0.7}
    lanes = race([ADAM, RELU, ELU, SELU], Laid(lambda label, until: metrics[label]), 270, 10.0, none)
    assert [lane.cure.label for lane in lanes] == ["elu", "selu", "adam", "relu"]
    assert lanes[-1].reason == "diverged"
    assert math.isnan(lanes[-1].last)
    assert lanes[-1].steps == 10


def test_equal_metrics_are_told_apart_by_the_loss():
    laid = Laid(lambda label, until: 1.0, lambda label, until: {"adam": 0.3, "elu": 0.1}.get(label, 0.2))
    lanes = race([ADAM, RELU, ELU], laid, 270, 10.0, none)
    assert lanes[0].cure is ELU


def test_a_metric_that_lags_early_does_not_end_a_lane_whose_loss_is_the_best():
    """As with running averages of batch normalisation, which have to settle."""

    def metric(label: str, until: int) -> float:
        return (0.1 if until < 50 else 0.99) if label == "selu" else 0.5 + len(label) / 1000

    def loss(label: str, until: int) -> float:
        return 0.1 if label == "selu" else 1.0

    cures = chosen(["relu", "elu", "selu", "swish", "gelu", "prelu", "leaky_relu", "tanh", "adam"])
    assert race(cures, Laid(metric, loss), 270, 10.0, none)[0].cure.label == "selu"


def test_variants_of_the_leaders_join_and_can_win():
    asked: list[list[str]] = []

    def more(leaders: list[Cure]) -> list[Cure]:
        asked.append([leader.label for leader in leaders])
        return [RELU, SWISH, CLIP]

    metrics = {"adam": 0.5, "relu": 0.6, "elu": 0.3, "swish": 0.9}
    laid = Laid(lambda label, until: metrics[label])
    lanes = race([ADAM, RELU, ELU], laid, 270, 10.0, more)
    assert asked == [["relu"]]
    assert lanes[0].cure is SWISH
    assert laid.at == {"adam": 10, "relu": 135, "elu": 10, "swish": 135}, "one joins: what has run does not run again"


def test_an_empty_race_is_none():
    assert race([], Laid(lambda label, until: 1.0), 100, 4.0, none) == []


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
