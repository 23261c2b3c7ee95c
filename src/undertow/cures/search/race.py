"""Many changes raced against each other: most stop early, so that the search is cheap."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from undertow.cures.cure import Cure
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError

KEPT = 3
"""One lane in three goes on to the next rung.  Origin: eta of Hyperband (Li et al. 2016, arXiv:1603.06560), which
varies little between 3 and 4."""
SHARES = (1 / 27, 1 / 9, 1 / 2)
"""Of the training that the rungs take.  The last one is longer than three times the one before, since high rates lead
early and are overtaken late (Li et al. 2016: the horizon is Hyperband's own open choice); half is ours."""
RUNGS = len(SHARES)
FEWEST = 5
"""Steps of the first rung at least: before them a metric is that of the initial weights."""
FINALISTS = 3
LEADERS = 2
"""Lanes whose variants join the race in its middle: of one alone a lucky start would decide."""
LEAST = 3
"""Changes that race at least, however small the budget: one alone is no search."""


class Measure(Protocol):
    """Trains changes from the start on, each on the seed that this draw stands for."""

    def __call__(self, cures: Sequence[Cure], until: int, draw: int) -> list[Trial]: ...


More = Callable[[list[Cure]], Iterable[Cure]]


@dataclass
class Lane:
    """One change, and how far it came."""

    cure: Cure
    metrics: dict[int, float] = field(default_factory=dict)
    """By the number of steps after which it was taken; NaN where the run had failed."""
    losses: dict[int, float] = field(default_factory=dict)
    """The mean training loss of the last third of these steps."""
    reason: str = ""
    """Why it failed."""

    @property
    def last(self) -> float:
        return self.metrics[max(self.metrics)] if self.metrics else math.nan

    @property
    def steps(self) -> int:
        return max(self.metrics, default=0)


@dataclass(frozen=True)
class Schedule:
    """How many lanes run until which step."""

    untils: tuple[int, ...]
    first: int
    """Lanes of the first rung."""
    kept: int
    """Lanes that go on to the last rung but one, and as many variants that join them there."""
    finalists: int

    @property
    def cost(self) -> int:
        """In optimizer steps."""
        *before, end = self.untils
        if not before:
            return self.first * end
        again = 2 if len(before) > 1 else 1
        return self.first * before[0] + again * self.kept * before[-1] + self.finalists * end


def schedule(lanes: int, steps: int, trainings: float) -> Schedule:
    """The widest race of so many lanes at most that costs no more than so many whole trainings."""
    untils = sorted({min(steps, max(FEWEST, math.ceil(steps * share))) for share in SHARES})
    found = _of(min(lanes, LEAST), untils)
    for first in range(min(lanes, LEAST) + 1, lanes + 1):
        if (wider := _of(first, untils)).cost > trainings * steps:
            break
        found = wider
    return found


def _of(first: int, untils: Sequence[int]) -> Schedule:
    kept = math.ceil(first / KEPT)
    return Schedule(tuple(untils), first, kept, min(FINALISTS, 2 * kept))


def race(cures: Sequence[Cure], measure: Measure, steps: int, trainings: float, more: More) -> list[Lane]:
    """Successive halving; the lanes that came furthest first, the best of them at the top.

    Each rung draws a seed of its own: what won by lucky initial weights hardly does so again.  At the last rung but one
    the leaders are joined by their variants: `more(leaders)` gives these, the most promising first.  Until then a lane
    goes on if either its metric or its loss is among the best: a metric lags where running averages have to settle,
    and losses of different formulas can't be compared.  At the end the metric decides, and the loss between equals.

    Source: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    arXiv:1502.07943; the variants and the seeds are ours.
    """
    plan = schedule(len(cures), steps, trainings)
    *before, end = plan.untils
    lanes = running = [Lane(cure) for cure in cures[: plan.first]]
    for draw, until in enumerate(before):
        running = running if draw == 0 else _best(running, plan.kept)
        _advance(running, measure, until, draw)
    if before:
        leaders = [lane.cure for lane in _best(running, LEADERS) if not lane.reason]
        joining = list(islice(_new(more(leaders), lanes), plan.kept))
        _advance(joining, measure, before[-1], len(before) - 1)
        lanes, running = [*lanes, *joining], _best([*running, *joining], plan.finalists)
    _advance(running, measure, end, len(before))
    return sorted(lanes, key=standing)


def _new(cures: Iterable[Cure], lanes: Iterable[Lane]) -> Iterator[Lane]:
    """Those that have not run yet, in whatever order their parts are."""
    known = {frozenset(lane.cure.label.split(" + ")) for lane in lanes}
    for cure in cures:
        if (label := frozenset(cure.label.split(" + "))) not in known:
            known.add(label)
            yield Lane(cure)


def _advance(lanes: Sequence[Lane], measure: Measure, until: int, draw: int) -> None:
    going = [lane for lane in lanes if not lane.reason]
    for lane, trial in zip(going, measure([lane.cure for lane in going], until, draw), strict=True):
        last = trial.losses[-max(1, until // KEPT) :]
        lane.metrics[until] = math.nan if trial.reason else trial.metric
        lane.losses[until] = sum(last) / len(last) if last else math.nan
        lane.reason = trial.reason or trial.refused


def _best(lanes: Sequence[Lane], count: int) -> list[Lane]:
    """By metric or by loss."""
    by_metric, by_loss = (sorted(_key(lane, what) for lane in lanes) for what in ("metrics", "losses"))

    def place(lane: Lane) -> tuple[float, float]:
        places = bisect_left(by_metric, _key(lane, "metrics")), bisect_left(by_loss, _key(lane, "losses"))
        return (math.inf, 0) if lane.reason else (min(places), sum(places))

    return sorted(lanes, key=place)[:count]


def _key(lane: Lane, what: str) -> float:
    """The lower the better."""
    values: dict[int, float] = getattr(lane, what)
    value = values.get(lane.steps, math.nan) * (-1 if what == "metrics" else 1)
    return math.inf if math.isnan(value) else value


def standing(lane: Lane) -> tuple[bool, int, float, float]:
    """Failed ones last, then the further the better, then the higher the metric, then the lower the loss."""
    return bool(lane.reason), -lane.steps, _key(lane, "metrics"), _key(lane, "losses")


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
