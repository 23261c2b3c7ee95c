"""All trials of one search: asked for here, answered by the file of an earlier run or by a backend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from time import monotonic

from undertow.cures.cure import Cure
from undertow.cures.trials.backends import Backend
from undertow.cures.trials.bench import Lane, lane_of
from undertow.cures.trials.progress import Bar
from undertow.cures.trials.store import Store
from undertow.cures.trials.task import Task
from undertow.cures.trials.trial import Trial


class Engine:
    """Answers tasks, keeps what it was told, and knows what it cost."""

    def __init__(self, steps: int, backend: Backend, store: Store | None, bar: Bar) -> None:
        self.steps = steps
        self.answers: dict[tuple[str, int, int], tuple[Task, Trial]] = {}
        """By the key of the task, in the order in which they came: what is known after Ctrl-C too."""
        self._backend, self._store, self._bar = backend, store, bar
        self._alive: set[Lane] = set()
        """Lanes of the race that may go on."""

    @property
    def workers(self) -> int:
        return self._backend.workers

    def trial(self, cure: Cure | None, seed: int) -> Trial | None:
        """A whole training that has been answered; None otherwise."""
        found = self.answers.get(Task(cure, seed).key)
        return found[1] if found else None

    def whole(self, cures: Sequence[Cure | None], seeds: Sequence[int]) -> list[list[Trial]]:
        """Of each cure the whole training on each seed.  The lanes of a race are let go."""
        self._alive.clear()
        trials = self.ask([Task(cure, seed) for cure in cures for seed in seeds])
        return [trials[i : i + len(seeds)] for i in range(0, len(trials), len(seeds))]

    def part(self, cures: Sequence[Cure | None], until: int, seed: int) -> list[Trial]:
        """Of each cure the training on this seed up to a step, from where it rests."""
        tasks = [Task(cure, seed, until) for cure in cures]
        if until < self.steps:
            self._alive |= {lane_of(task) for task in tasks}
        return self.ask(tasks)

    def release(self, cures: Iterable[Cure | None], seed: int) -> None:
        """These do not go on: their memory is given back."""
        self._alive -= {lane_of(Task(cure, seed)) for cure in cures}

    def ask(self, tasks: Sequence[Task]) -> list[Trial]:
        """Their results, in this order.

        Raises
        ------
        TimeUpError
            The time is over; what was answered until then is in `answers`.
        """
        asked = {task.key: task for task in tasks}
        missing: list[Task] = []
        for key, task in asked.items():
            if key in self.answers:
                continue
            if known := self._store and self._store.get(task):
                self._answered(task, known, again=True)
            else:
                missing.append(task)
        ends = self._backend.run(missing, self._alive, self._bar.step)
        for task, trial in ends:
            if self._store:
                self._store.put(task, trial)
            self._answered(task, trial)
        return [self.answers[key][1] for key in (task.key for task in tasks)]

    def until(self, seconds: float) -> None:
        """Break off what still runs after so many seconds from now."""
        self._backend.deadline = monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then."""
        deadline = self._backend.deadline
        return math.inf if deadline is None else deadline - monotonic()

    def cost(self, cure: Cure | None = None, seeds: Sequence[int] | None = None) -> float:
        """Of everything that was answered, or of the whole trainings of one cure, in plain trainings by steps."""
        done: dict[tuple[Lane, bool], int] = {}
        for task, trial in self.answers.values():
            if seeds is None or (task.key[0] == Task(cure, 0).key[0] and task.seed in seeds and not task.until):
                place = lane_of(task), bool(task.until)
                done[place] = max(done.get(place, 0), len(trial.losses))
        return sum(done.values()) / self.steps

    def _answered(self, task: Task, trial: Trial, again: bool = False) -> None:
        before = [t for t, _ in self.answers.values() if lane_of(t) == lane_of(task) and 0 < t.until < task.until]
        self.answers[task.key] = task, trial
        steps = (task.until or self.steps) - max((t.until for t in before), default=0)
        if again:  # no time was spent on it: the pace of the others tells what is left
            self._bar.known(steps)
        else:
            self._bar.done(task.label, steps)

    def close(self) -> None:
        self._backend.close()
        if self._store:
            self._store.close()
