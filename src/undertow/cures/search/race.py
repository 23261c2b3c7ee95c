"""Many changes raced against each other on one seed: most stop early, so that the search is cheap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from undertow.cures.copying import copied
from undertow.cures.cure import Cure, failure
from undertow.cures.training import Training, in_order, split
from undertow.cures.trials.seeding import random_state, seed_everything, set_random_state
from undertow.cures.trials.trial import judge_metric, loop
from undertow.foundation import InputError

KEPT = 3
"""One lane in three goes on at each rung, for three times as many steps.  Origin: eta of Hyperband (Li et al. 2016,
arXiv:1603.06560), which varies little between 3 and 4."""
FEWEST = 5
"""Steps of the first rung at least: before them a metric is that of the initial weights."""


@dataclass
class Lane:
    """One change (None is the untouched training), and how far it came."""

    cure: Cure | None
    metrics: dict[int, float] = field(default_factory=dict)
    """By the number of steps after which it was taken; NaN where the run had failed."""
    reason: str = ""
    """Why it failed."""

    @property
    def last(self) -> float:
        return self.metrics[max(self.metrics)] if self.metrics else math.nan

    @property
    def steps(self) -> int:
        return max(self.metrics, default=0)


def rungs(lanes: int, steps: int) -> list[tuple[int, int]]:
    """How many lanes run until which step: a third of the lanes, thrice the steps, each time."""
    found = [(1, steps)]
    while found[0][0] < lanes and found[0][1] / KEPT >= FEWEST:
        count, until = found[0]
        found.insert(0, (min(count * KEPT, lanes), math.ceil(until / KEPT)))
    return [(lanes, found[0][1]), *found[1:]] if found else []


def cost(lanes: int, steps: int) -> float:
    """Of a race, in whole trainings: a lane that goes on starts where it stopped."""
    total, before = 0, 0
    for count, until in rungs(lanes, steps):
        total += count * (until - before)
        before = until
    return total / steps


def affordable(trainings: float, steps: int) -> int:
    """The most lanes of a race that costs no more than so many whole trainings; none where one is too many."""
    lanes = 0
    while cost(lanes + 1, steps) <= trainings:
        lanes += 1
    return lanes


def race(
    fresh: Callable[[], Training],
    cures: Iterable[Cure | None],
    steps: int,
    seed: int,
    done: Callable[[Lane], None] = lambda lane: None,
) -> list[Lane]:
    """Successive halving by the metric on one seed; the lanes that came furthest first, the best of them at the top.

    `done` is told of a lane after each of its rungs.  An exception in a lane is that lane's result.

    Source: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    arXiv:1502.07943.
    """
    running = [_Runner(fresh, cure, steps, seed) for cure in cures]
    for count, until in rungs(len(running), steps):
        running.sort(key=_Runner.standing)
        for runner in running[:count]:
            runner.advance(until)
            done(runner.lane)
        for runner in running[count:]:
            runner.stop()
    return [runner.lane for runner in sorted(running, key=_Runner.standing)]


class _Runner:
    """A lane's training, which rests between two rungs with random numbers of its own."""

    def __init__(self, fresh: Callable[[], Training], cure: Cure | None, steps: int, seed: int) -> None:
        self.lane = Lane(cure)
        self._fresh, self._steps, self._seed = fresh, steps, seed
        self._training: Training | None = None
        self._batches: Any = None
        self._held_out: Sequence[Any] = ()
        self._state: Any = None
        self._losses: list[float] = []

    def standing(self) -> tuple[int, float]:
        """The further the better, then the higher the metric; what failed is last."""
        value = self.lane.last
        return -self.lane.steps, math.inf if math.isnan(value) else -value

    def advance(self, until: int) -> None:
        """Trains on to this step and takes the metric; a failed lane stays as it is."""
        if self.lane.reason:
            self.lane.metrics[until] = math.nan
            return
        try:
            self._begin()
            assert self._training is not None
            self.lane.reason = loop(self._training, islice(self._batches, until - len(self._losses)), self._losses)
            self._state = random_state()
            value = math.nan if self.lane.reason else judge_metric(self._training, self._held_out)
        except Exception as error:  # of this change; the search goes on
            self.lane.reason, value = failure(error), math.nan
        self.lane.metrics[until] = value
        if self.lane.reason:
            self.stop()

    def stop(self) -> None:
        """Gives the memory back."""
        self._training = self._batches = self._state = None

    def _begin(self) -> None:
        if self._training is not None:
            set_random_state(self._state)
            return
        seed_everything(self._seed)
        training = self._fresh()
        seed_everything(self._seed)
        self._training = self.lane.cure.apply(training) if self.lane.cure else copied(training)
        seed_everything(self._seed)
        source, self._held_out, _ = split(self._training, self._steps)
        seed_everything(self._seed)
        self._batches = in_order(source, self._steps)


def checked_budget(budget: Any) -> tuple[float, str]:
    """A budget such as 600, "10m", "1.5h" or "12x": a number, and whether it is of seconds ("s") or trainings ("x").

    Raises
    ------
    InputError
        It is none, or not positive.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "x": 1.0}
    text = f"{budget}s" if isinstance(budget, int | float) else str(budget).strip()
    try:
        value = float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        expected = 'seconds, or a text with a unit: "90s", "5m", "2h", or "10x" for ten times the plain training'
        raise InputError(f"budget={budget!r}", expected, 'budget="10x"')
    return value, "x" if text.endswith("x") else "s"
