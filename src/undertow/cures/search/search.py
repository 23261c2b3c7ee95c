"""The search for a cure: the untouched control and each cure on the same seeds, data and budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

from undertow.cures.cure import Cure, NotApplicableError, chosen, failure
from undertow.cures.search.prescription import plans
from undertow.cures.search.race import Lane, affordable, checked_budget, cost, race, rungs
from undertow.cures.search.together import Together
from undertow.cures.training import Training, check, split
from undertow.cures.trials.progress import Advance, progress_bar
from undertow.cures.trials.seeding import random_state_kept, seed_everything
from undertow.cures.trials.trial import Trial, run
from undertow.cures.trials.verdict import Verdict, Verdicts, judge, not_applicable, ranked
from undertow.foundation import InputError, UndertowError

LANES = 3
"""Changes that race at least, however small the budget: one alone is no search."""
Make = Callable[[int], Training]
SLOWER = "learning_rate ×0.1"
"""The second rate for a changed network.  Origin: rates are searched by decades (Bengio 2012, arXiv:1206.5533)."""


def cure(
    make: Make,
    seeds: Sequence[int] = (0, 1, 2),
    cures: Iterable[str | Cure] | None = None,
    steps: int | None = None,
    progress: bool = True,
    diagnose: bool = True,
    budget: float | str = "10x",
) -> Verdicts:
    """Search for a cure, and prove it against the untouched control, paired by seed.

    The control runs on every seed and is diagnosed.  The changes that are meant for what it shows, alone and two
    together, race on a seed of their own, where most stop early; the best of them runs on every seed.  Where nothing
    is found nothing is tried.  With `cures` each of these runs on every seed instead.

    A verdict is `harmed` if the 95 % interval of the paired differences lies below 0 or a trial fails where the
    control did not, `cured` if the interval lies above 0 and the faults of the control are gone on every seed,
    `helped` if the interval lies above 0, else `no effect`.  Where the control fails on every seed without a metric,
    a sound run on every seed counts as an interval above 0.

    Parameters
    ----------
    make:
        `make(seed)` returns the Training of one seed; all random generators are seeded before it is called.
    seeds:
        At least two for any proof; with one seed every difference may be chance.
    cures:
        Names, labels or Cure objects, to try each of them whole instead of a search.
    steps:
        Optimizer steps of each trial; one for each batch by default.
    progress:
        Show a bar on a terminal (stderr).
    diagnose:
        Watch every trial for faults; without it nothing can be called cured.

    budget:
        What the search may cost, control and proof included: seconds, or "90s", "5m", "2h", or "10x" for ten times
        the plain training.  Control and proof alone take twice the number of seeds.

    A failing trial is its own result.  Ctrl-C gives back the verdicts of the cures that were tried on all seeds, with
    `interrupted` set.  The random generators are given back as they were.

    Raises
    ------
    InputError
        `make` returns no Training, or seeds or steps are empty or of the wrong kind.
    UnknownNameError
        A cure that the catalogue does not know.
    UndertowError
        The untouched training itself cannot run: no batches, a batch that the model refuses, a loss without gradient.
    """
    began = perf_counter()
    asked = chosen(cures) if cures is not None or not diagnose else None
    seeds, allowed = _checked(make, seeds, steps), checked_budget(budget)
    with random_state_kept(), progress_bar(len(seeds), progress) as advance:
        search = _Search(make, seeds, steps, diagnose, advance)
        control = search.control()
        if asked is None:
            verdicts, interrupted = search.searched(control, allowed)
        else:
            advance("", -len(seeds) * len(asked))
            verdicts, interrupted = search.verdicts(asked, control)
    return Verdicts(
        ranked(verdicts),
        tuple(t.metric for t in control),
        tuple(t.losses for t in control),
        seeds,
        search.steps,
        search.metric,
        seconds=perf_counter() - began,
        interrupted=interrupted,
        control_findings=tuple(sorted(set().union(*(t.kinds for t in control)))),
        control_reason=next((t.reason for t in control if t.failed), ""),
        raced=search.raced,
    )


def _checked(make: Any, seeds: Any, steps: Any) -> tuple[int, ...]:
    if not callable(make):
        raise InputError(
            f"make of type {type(make).__name__}",
            "a function: make(seed) -> ut.Training",
            "def make(seed): ...; return ut.Training(model, optimizer, loss, batches)",
        )
    seeds = tuple(seeds) if isinstance(seeds, Iterable) else (seeds,)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"seeds={seeds!r}", "different whole numbers, two or more for a proof", "seeds=(0, 1, 2)")
    if steps is not None and not (isinstance(steps, int) and steps > 0):
        raise InputError(f"steps={steps!r}", "a positive number of optimizer steps, or None", "steps=300")
    return seeds


class _Search:
    """The trials of one search, all made in the same way."""

    def __init__(self, make: Make, seeds: tuple[int, ...], steps: int | None, diagnose: bool, advance: Advance) -> None:
        self.make, self.seeds, self.diagnose, self.advance = make, seeds, diagnose, advance
        first = self._fresh(seeds[0])
        self._dry_run(first)
        self.raced: tuple[Lane, ...] = ()
        self.metric = "metric" if first.metric else "minus held-out loss"
        *_, self.steps = split(first, steps)

    def _fresh(self, seed: int) -> Training:
        seed_everything(seed)
        return check(self.make(seed))

    def _dry_run(self, training: Training) -> None:
        """One step and the metric, so that a training that cannot run at all is an error before the search."""
        try:
            run(training, 1, seed=self.seeds[0], diagnose=False, guarded=False)
        except UndertowError:
            raise
        except Exception as error:
            raise InputError(
                f"a training whose first step or metric fails ({failure(error)})",
                "one that runs",
                "one step of your own loop by hand, and metric(model)",
            ) from error

    def trial(self, seed: int, cure: Cure | None = None) -> Trial:
        self.advance(cure.label if cure else "", 0)
        try:
            return run(self._fresh(seed), self.steps, seed=seed, cure=cure, diagnose=self.diagnose)
        except NotApplicableError:
            raise
        except Exception as error:  # make(seed) failed for this seed only
            return Trial(math.nan, reason=failure(error))
        finally:
            self.advance(cure.label if cure else "", 1)

    def control(self) -> list[Trial]:
        return [self.trial(seed) for seed in self.seeds]

    def searched(self, control: list[Trial], budget: tuple[float, str]) -> tuple[list[Verdict], bool]:
        """The verdict on the winner of a race, and on the next ones while the budget lasts and nothing is proven."""
        findings = {(f.kind, f.where): f for trial in control for f in trial.findings or ()}
        if not findings and not any(t.failed for t in control):
            return [], False
        amount, unit = budget
        left = amount if unit == "x" else amount / max(sum(t.seconds for t in control) / len(control), 1e-9)
        left -= 2 * len(self.seeds)
        seed = max(self.seeds) + 1
        try:
            candidates = plans(self._fresh(seed), findings.values(), max(affordable(left, self.steps), LANES))
            rounds = sum(count for count, _ in rungs(len(candidates), self.steps))
            self.advance("", -rounds)
            raced = race(lambda: self._fresh(seed), candidates, self.steps, seed, self._told)
            left -= cost(len(candidates), self.steps)
        except KeyboardInterrupt:
            return [], True
        self.raced = tuple(raced)
        return self._proven(raced, control, left)

    def _proven(self, raced: Sequence[Lane], control: list[Trial], left: float) -> tuple[list[Verdict], bool]:
        found: list[Verdict] = []
        for lane in raced:
            proven = any(v.outcome in ("cured", "helped") for v in found)
            if lane.cure is None or lane.reason or proven or (found and left < len(self.seeds)):
                continue
            self.advance("", -len(self.seeds))
            try:
                found.append(self._verdict(lane.cure, control))
            except KeyboardInterrupt:
                return found, True
            left -= len(self.seeds)
        return found, False

    def _told(self, lane: Lane) -> None:
        self.advance(lane.cure.label if lane.cure else "", 1)

    def verdicts(self, candidates: Sequence[Cure], control: list[Trial]) -> tuple[list[Verdict], bool]:
        """The verdicts so far, and whether Ctrl-C ended the search."""
        found: list[Verdict] = []
        try:
            for candidate in candidates:
                found.append(self._verdict(candidate, control))
                found[-1] = self._slower(candidate, found[-1], control)
        except KeyboardInterrupt:
            return found, True
        return found, False

    def _slower(self, candidate: Cure, verdict: Verdict, control: list[Trial]) -> Verdict:
        """The verdict, or a better one at a tenth of the rate where the first proves nothing for another network: the
        textbook change can fail only because the rate suited the old one."""
        slower = Together((candidate, *chosen(SLOWER)))
        proven = verdict.outcome not in ("no effect", "harmed")
        if proven or not candidate.changes_network or slower.applies(self._fresh(self.seeds[0])):
            return verdict
        self.advance(slower.label, -len(self.seeds))  # so many trials more than the bar was told
        return ranked([verdict, self._verdict(slower, control)])[0]

    def _verdict(self, candidate: Cure, control: list[Trial]) -> Verdict:
        trials: list[Trial] = []
        try:
            for seed in self.seeds:
                trials.append(self.trial(seed, candidate))
        except NotApplicableError as error:
            self.advance(candidate.label, len(self.seeds) - len(trials) - 1)
            return not_applicable(candidate, error.reason, control)
        started = any(trial.losses for trial in trials)
        return judge(candidate, candidate.patch(self._fresh(self.seeds[0])) if started else "", control, trials)
