"""One run: the cure that is searched, random choice at the same cost, and both on fresh seeds."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from statistics import fmean

import torch
from benchmarks.cures.sick import FRESH, Sick, sick

import undertow as ut
from undertow.cures import Cure, NotApplicableError, Trial, Verdicts, all_cures, run
from undertow.cures.search.together import Together
from undertow.cures.trials.verdict import judge

BUDGET = 10
"""Plain trainings that a search may cost, its control and its proof included."""
REPEATS = 3
"""Random searches of each run, whose mean is compared."""
DRAWS = 200
"""Random changes that are drawn at most: most of the catalogue does not apply to a given training."""
WORST = -1.0
"""Stands for the metric of a run that has none, in the mean over seeds: below every accuracy, and R² is cut there."""


@dataclass(frozen=True)
class Tried:
    """What came of the search on one run."""

    name: str
    source: str
    healthy: bool
    control: float
    found: tuple[str, ...]
    """Kinds of findings of the control."""
    cure: str = ""
    outcome: str = ""
    metric: float = nan
    """Of the proven change over the search's seeds; of the control where nothing is proven."""
    cost: float = nan
    """In plain trainings."""
    seconds: float = nan
    fresh: float = nan
    """The metric with the cure on fresh seeds, and without."""
    fresh_control: float = nan
    fresh_outcome: str = ""
    random: tuple[float, ...] = ()
    """The metric of each random search, over the search's seeds."""
    random_cures: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    """What else was proven or not, as `label: outcome metric`."""
    error: str = ""
    best: float | None = None
    good: float = 0.0
    known: str = ""
    epochs: int | None = None


def tried(name: str, folder: Path, seeds: Sequence[int], with_random: bool) -> Tried:
    """In a process of its own, which knows the runs by their names only."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the runs' own making: overflow, a clamp of infinities
        return _tried(sick(folder)[name], tuple(seeds), with_random)


def _tried(case: Sick, seeds: tuple[int, ...], with_random: bool) -> Tried:
    began = time.perf_counter()
    given = {"best": case.best, "good": case.good, "known": case.known, "epochs": case.epochs}
    try:
        verdicts = ut.cure(case.make, seeds, budget=f"{BUDGET}x", progress=False)
    except ut.UndertowError as error:
        return Tried(case.name, case.source, case.healthy, nan, (), error=str(error)[:300], **given)
    seconds = time.perf_counter() - began
    best, control = verdicts.best, mean(verdicts.control)
    fresh = _fresh(case, verdicts, verdicts.steps) if best else ("", nan, nan)
    drawn = [_random(case, seeds, verdicts, repeat) for repeat in range(REPEATS)] if with_random else []
    return Tried(
        case.name,
        case.source,
        case.healthy,
        control,
        verdicts.control_findings,
        best.cure if best else "",
        best.outcome if best else "",
        mean(best.afters) if best else control,
        verdicts.cost,
        seconds,
        fresh_outcome=fresh[0],
        fresh_control=fresh[1],
        fresh=fresh[2],
        random=tuple(metric for metric, _ in drawn),
        random_cures=tuple(label for _, label in drawn),
        tried=tuple(f"{v.cure}: {v.outcome} {mean(v.afters):.3f}" for v in verdicts if v is not best),
        **given,
    )


def mean(metrics: Sequence[float]) -> float:
    return fmean(WORST if isnan(m) else m for m in metrics)


def _fresh(case: Sick, verdicts: Verdicts, steps: int) -> tuple[str, float, float]:
    """The outcome on seeds that the search has not seen, the control's metric there, and the cure's."""
    assert verdicts.best
    change = verdicts.best.change
    assert change
    seeds = range(FRESH, FRESH + len(verdicts.best.afters))
    control = [_trial(case, seed, steps) for seed in seeds]
    cured = [_trial(case, seed, steps, change) for seed in seeds]
    judged = judge(change, "", control, cured)
    return judged.outcome, mean(judged.befores), mean(judged.afters)


def _trial(case: Sick, seed: int, steps: int, change: Cure | None = None) -> Trial:
    torch.manual_seed(seed)
    return run(case.make(seed), steps, seed=seed, cure=change)


def _random(case: Sick, seeds: tuple[int, ...], verdicts: Verdicts, repeat: int) -> tuple[float, str]:
    """Random changes of the catalogue, alone or two together, each run whole on the race's seed while the budget
    lasts; the best of them, where it beats the control there, on the search's seeds."""
    draw, seed, steps = random.Random(f"{case.name} {repeat}"), max(seeds) + 1, verdicts.steps
    left, every = BUDGET - 2 * len(seeds), all_cures()
    torch.manual_seed(seed)
    training = case.make(seed)
    best, chosen = _trial_metric(run(case.make(seed), steps, seed=seed, diagnose=False)), None
    for _ in range(DRAWS):
        if left <= 0:
            break
        parts = draw.sample(every, draw.choice((1, 2)))
        change = parts[0] if len(parts) == 1 else Together(tuple(parts))
        try:
            if change.applies(training) or len({p.name for p in parts}) < len(parts):
                continue
            metric = _trial_metric(run(case.make(seed), steps, seed=seed, cure=change, diagnose=False))
        except NotApplicableError:
            continue
        left -= 1
        if metric > best:
            best, chosen = metric, change
    if chosen is None:
        return mean(verdicts.control), ""
    trials = [run(case.make(seed), steps, seed=seed, cure=chosen, diagnose=False) for seed in seeds]
    return mean([t.metric for t in trials]), chosen.label


def _trial_metric(trial: Trial) -> float:
    return WORST if isnan(trial.metric) else trial.metric
