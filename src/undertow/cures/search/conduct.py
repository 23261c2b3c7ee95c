"""How a search goes: control, race, proof; and what is known of it at any moment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from time import perf_counter

from undertow.cures.cure import Cure, chosen, failure
from undertow.cures.search.contest import contest
from undertow.cures.search.measured import Measured, lanes_of, worst_first
from undertow.cures.search.race import RUNGS, Lane
from undertow.cures.search.together import Together
from undertow.cures.training import split
from undertow.cures.trials.backends import backend_for
from undertow.cures.trials.bench import fresh
from undertow.cures.trials.engine import Engine
from undertow.cures.trials.progress import Bar
from undertow.cures.trials.question import question
from undertow.cures.trials.store import Store
from undertow.cures.trials.task import Make, Setting
from undertow.cures.trials.trial import Trial, judge_metric, run
from undertow.cures.trials.verdict import PROVEN, Verdict, Verdicts, judge, not_applicable, ranked
from undertow.foundation import InputError, TrainingError, UndertowError

SLOWER = "learning_rate ×0.1"
"""The second rate for a changed network.  Origin: rates are searched by decades (Bengio 2012, arXiv:1206.5533)."""
SEEN, POINTS = 0.05, 8
"""What taking the metric on the way may cost of a training, and at how many places at most it is taken."""
MORE, PAST = 2, 4
"""Seeds that an undecided proof gets besides, and how many trainings it may go past a budget in trainings for them."""
DRY = 2
"""Steps before the search: the second shows what the first did."""


class Search:
    """One search; whoever breaks it off may ask for the `result` all the same.

    Raises
    ------
    InputError
        `make` returns no Training.
    UndertowError
        The untouched training itself cannot run.
    """

    def __init__(
        self, make: Make, seeds: tuple[int, ...], steps: int | None, diagnose: bool, budget: tuple[float, str]
    ) -> None:
        self._began = perf_counter()
        self._make, self.seeds, self._budget = make, seeds, budget
        self._first = fresh(make, seeds[0])
        _, held_out, self.steps = split(self._first, steps)
        self._tried = self._dry_run()
        points = self._points(held_out)
        self._setting = Setting(make, self.steps, diagnose, points, seeds[0])
        self._metric = "metric" if self._first.metric else "minus held-out loss"
        self.interrupted = self.out_of_time = False
        self._proofs: dict[str, tuple[Cure, tuple[int, ...]]] = {}
        """What was to be proven, and on which seeds, by the label."""
        self._unproven: list[str] = []
        self._lanes: Sequence[Lane] = ()
        self._untried: tuple[tuple[str, str], ...] = ()

    @contextmanager
    def opened(self, path: str | PathLike[str] | None, backend: str, workers: int | None, bar: Bar) -> Iterator[None]:
        """With the file and the backend of the trials.

        Raises
        ------
        InputError
            A file of another search, or a backend that this machine lacks.
        OutputError
            A file that can't be made.
        """
        asked = question(self._setting, self.seeds[0], self._first, self._tried)
        store = Store(path, asked) if path is not None else None
        try:
            on_gpu = any(p.is_cuda for p in self._first.model.parameters())
            self._engine = Engine(self.steps, backend_for(self._setting, backend, workers, on_gpu), store, bar)
        except BaseException:
            if store:
                store.close()
            raise
        self._bar = bar
        amount, unit = self._budget
        if unit == "s":
            self._engine.until(amount - (perf_counter() - self._began))
        try:
            yield
        finally:
            self._engine.close()

    def control(self, cures: Sequence[Cure] | None = None) -> None:
        """The untouched training on every seed; `cures` are those that will be listed."""
        amount, unit = self._budget
        trainings = amount if unit == "x" and cures is None else len(self.seeds) * (1 + len(cures or ()))
        self._bar.expect(round(trainings * self.steps))
        self._engine.whole([None], self.seeds)

    def listed(self, cures: Sequence[Cure]) -> None:
        """Each of these on every seed; one that makes another network of it and is not proven, at a tenth of the rate
        too: the textbook change can fail only because the rate suited the old network."""
        self._prove(cures)
        (slowly,) = chosen(SLOWER)
        verdicts = {cure.label: self._verdict(cure, self.seeds) for cure in cures}
        slower = [
            Together((cure, slowly))
            for cure in cures
            if cure.changes_network and (v := verdicts[cure.label]) and v.outcome in ("no effect", "harmed")
        ]
        self._prove([cure for cure in slower if not cure.applies(fresh(self._make, self.seeds[0]))])

    def hunt(self) -> None:
        """A race of what is meant for the control's faults, on seeds of its own; then the proof of the winner, and of
        the next ones: while the trainings last, and of a budget in seconds until one is proven."""
        control = self._control
        findings = worst_first(control)
        if not findings and not any(t.failed for t in control):
            return
        seed = max(self.seeds) + 1
        left = self._trainings_left()
        self._bar.expect(round((max(left, 0) + len(self.seeds)) * self.steps))
        found = contest(lambda: fresh(self._make, seed), findings, Measured(self._engine, seed), self.steps, left)
        self._lanes = found.lanes
        self._untried = tuple((p.cure.label, p.why_not) for p in found.untried)
        self._proof()

    def result(self) -> Verdicts:
        """What is known at this moment.

        Raises
        ------
        KeyboardInterrupt
            Nothing yet, since the user stopped it.
        InputError
            Nothing yet, since the budget is less than one training takes.
        """
        control = self._control
        if not control and self.interrupted:
            raise KeyboardInterrupt
        if not control:
            expected = "time for the untouched training on each seed, and for cures after that"
            raise InputError(f"a budget of {self._budget[0]:g} s", expected, 'budget="10x"')
        verdicts, unproven = self._judged()
        return Verdicts(
            ranked(verdicts),
            tuple(t.metric for t in control),
            tuple(t.losses for t in control),
            self.seeds[: len(control)],
            self.steps,
            self._metric,
            seconds=perf_counter() - self._began,
            interrupted=self.interrupted,
            control_findings=tuple(sorted(set().union(*(t.kinds for t in control)))),
            control_reason=next((t.reason for t in control if t.failed), ""),
            raced=tuple(self._lanes or lanes_of(self._engine)),
            findings=tuple(worst_first(control)),
            untried=self._untried,
            untrained=tuple(t.metrics[0][1] if t.metrics else math.nan for t in control),
            control_metrics=tuple(t.metrics for t in control),
            cost=self._engine.cost(),
            out_of_time=self.out_of_time or bool(self._unproven),
            unproven=tuple(unproven),
        )

    @property
    def _control(self) -> list[Trial]:
        """Of the seeds from the first on, as far as they are known."""
        trials = [self._engine.trial(None, seed) for seed in self.seeds]
        known = next((i for i, t in enumerate(trials) if t is None), len(trials))
        return [t for t in trials[:known] if t is not None]

    def _dry_run(self) -> Trial:
        """A step or two and the metric, so that a training that cannot run at all is an error before the search."""
        try:
            steps = min(DRY, self.steps)
            return run(self._first, steps, seed=self.seeds[0], diagnose=False, guarded=False)
        except UndertowError:
            raise
        except Exception as error:
            raise TrainingError(
                f"a training whose first step or metric fails ({failure(error)})",
                "one that runs",
                "one step of your own loop by hand, and metric(model)",
            ) from error

    def _points(self, held_out: Sequence[object]) -> int:
        """At how many places the metric can be taken without costing much; the one before the first step always is."""
        copy = fresh(self._make, self.seeds[0])
        began = perf_counter()
        judge_metric(copy, held_out)
        metric = perf_counter() - began
        step = max(self._tried.seconds - metric, 0.0) / max(len(self._tried.losses), 1)
        return max(1, min(POINTS, int(SEEN * step * self.steps / max(metric, 1e-9))))

    def _trainings_left(self) -> float:
        """What the race may cost, in plain trainings."""
        spent, proof = self._engine.cost(), len(self.seeds)
        amount, unit = self._budget
        if unit == "x":
            return amount - spent - proof
        rounds = math.ceil(proof / self._engine.workers)
        return (self._engine.left / self._pace - rounds) * self._engine.workers

    @property
    def _pace(self) -> float:
        """Seconds of a plain training."""
        return sum(t.seconds for t in self._control) / max(self._engine.cost(None, self.seeds), 1e-9)

    def _proof(self) -> None:
        left = self._budget[0] - self._engine.cost() if self._budget[1] == "x" else math.inf
        proven = tried = False
        for lane in self._lanes:
            if lane.reason:
                continue
            if (proven and self._budget[1] == "s") or (tried and left < len(self.seeds)):
                break
            if self._seconds_of(lane) > self._engine.left:
                self._unproven.append(lane.cure.label)
                continue
            tried = True
            seeds = self._promising(lane.cure)
            self._prove([lane.cure], seeds)
            verdict = self._verdict(lane.cure, seeds)
            if verdict is not None and verdict.undecided and self._room_for_more(lane):
                self._more_seeds(lane.cure)
                verdict = self._verdict(lane.cure, self.seeds)
            proven = proven or (verdict is not None and verdict.outcome in PROVEN)
            left -= len(seeds)

    def _room_for_more(self, lane: Lane) -> bool:
        if self._budget[1] == "x":
            return self._engine.cost() + 2 * MORE <= self._budget[0] + PAST
        return 2 * self._seconds_of(lane) < self._engine.left

    def _more_seeds(self, cure: Cure) -> None:
        """Control and cure on seeds that neither the proof so far nor the race has seen."""
        first = max(self.seeds) + 1 + RUNGS
        more = tuple(range(first, first + MORE))
        self._bar.expect(2 * MORE * self.steps)
        self._engine.whole([None, cure], more)
        self.seeds = (*self.seeds, *more)
        self._proofs[cure.label] = cure, self.seeds

    def _promising(self, cure: Cure) -> tuple[int, ...]:
        """The seeds on which to prove it: the first alone where it fails there or does worse than the control."""
        first = self.seeds[:1]
        self._proofs[cure.label] = cure, self.seeds
        self._bar.expect(len(self.seeds) * self.steps)
        # Where others would wait meanwhile they run the other seeds: the decision is the same.
        ((trial, *_),) = self._engine.whole([cure], first if self._engine.workers == 1 else self.seeds)
        control = self._control[0]
        return first if trial.failed or trial.metric < control.metric else self.seeds

    def _seconds_of(self, lane: Lane) -> float:
        """What its proof may take, by the pace at which it raced."""
        ran = [trial for task, trial in self._engine.answers.values() if task.until and task.cure == lane.cure]
        done = max((len(trial.losses) for trial in ran), default=0)
        pace = sum(trial.seconds for trial in ran) / done * self.steps if done else self._pace
        return pace * math.ceil(len(self.seeds) / self._engine.workers)

    def _prove(self, cures: Sequence[Cure], seeds: tuple[int, ...] | None = None) -> None:
        seeds = seeds or self.seeds
        self._proofs |= {cure.label: (cure, seeds) for cure in cures}
        self._bar.expect(sum(self._engine.trial(c, s) is None for c in cures for s in seeds) * self.steps)
        self._engine.whole(cures, seeds)

    def _judged(self) -> tuple[list[Verdict], list[str]]:
        """The verdicts, and the labels of what has none for want of time."""
        found: dict[str, Verdict] = {}
        unproven = list(self._unproven)
        for label, (cure, seeds) in self._proofs.items():
            verdict = self._verdict(cure, seeds)
            if verdict is None:
                unproven.append(label)
                continue
            slow = isinstance(cure, Together) and label.removesuffix(f" + {SLOWER}")
            if slow and slow != label and slow in found:  # one verdict each: the better of the two rates
                found[slow] = ranked([found[slow], verdict])[0]
            else:
                found[label] = verdict
        return list(found.values()), unproven if self.out_of_time or self._unproven else []

    def _verdict(self, cure: Cure, seeds: Iterable[int]) -> Verdict | None:
        """None where not every seed has been tried."""
        pairs = [(self._engine.trial(None, s), self._engine.trial(cure, s)) for s in seeds]
        control = [before for before, after in pairs if before is not None and after is not None]
        trials = [after for before, after in pairs if before is not None and after is not None]
        if refused := next((t.refused for t in trials if t.refused), ""):
            return not_applicable(cure, refused, self._control)
        if len(trials) < len(pairs):
            return None
        patch = cure.patch(fresh(self._make, self.seeds[0])) if any(trial.losses for trial in trials) else ""
        return judge(cure, patch, control, trials, self._engine.cost(cure, self.seeds))
