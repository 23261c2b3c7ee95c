"""Where trials are run: one process at work on one task after the other."""

from __future__ import annotations

import gc
import math
from collections.abc import Collection
from itertools import islice
from time import perf_counter
from typing import Any

import torch

from undertow.cures.copying import copied
from undertow.cures.cure import NotApplicableError, failure
from undertow.cures.training import Training, check, in_order, split
from undertow.cures.trials.loop import After, loop, untold
from undertow.cures.trials.seeding import random_state, seed_everything, set_random_state
from undertow.cures.trials.task import Make, Setting, Task
from undertow.cures.trials.trial import Trial, judge_metric, lacks_memory, run

Lane = tuple[str, int]
"""A change and its seed."""


def lane_of(task: Task) -> Lane:
    return task.key[:2]


def fresh(make: Make, seed: int) -> Training:
    """The training of a seed; InputError where `make` returns none."""
    seed_everything(seed)
    return check(make(seed))


class Bench:
    """Runs tasks; trainings of a race rest here between two rungs, only so that they need not begin again."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.resting: dict[Lane, _Resting] = {}

    def do(self, task: Task, alive: Collection[Lane] = (), after: After = untold) -> Trial:
        """The result, whatever comes of it.  `alive` are the lanes that may still be asked for; others are let go."""
        began = perf_counter()
        for lane in [lane for lane in self.resting if lane not in alive]:
            del self.resting[lane]
        trial = self._done(task, alive, after)
        if trial.transient and self.resting:  # the resting ones hold memory, which this one may need
            self.resting.clear()
            trial = self._done(task, (), after)
        if trial.transient:
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        object.__setattr__(trial, "seconds", perf_counter() - began)  # with what `make` took; nobody has seen it yet
        return trial

    def _done(self, task: Task, alive: Collection[Lane], after: After) -> Trial:
        try:
            return self._part(task, alive, after) if task.until else self._whole(task, after)
        except NotApplicableError as error:
            return Trial(math.nan, refused=error.reason)
        except (Exception, SystemExit) as error:  # make(seed) failed for this seed only
            return Trial(math.nan, reason=failure(error), transient=lacks_memory(error))

    def _whole(self, task: Task, after: After) -> Trial:
        setting = self.setting
        return run(
            fresh(setting.make, task.seed),
            setting.steps,
            seed=task.seed,
            cure=task.cure,
            diagnose=setting.diagnose,
            points=setting.points,
            effects=task.cure is not None and task.seed == setting.measured,
            after=after,
        )

    def _part(self, task: Task, alive: Collection[Lane], after: After) -> Trial:
        lane = lane_of(task)
        resting = self.resting.pop(lane, None)
        if resting is None or len(resting.losses) > task.until:
            resting = _Resting(task, self.setting)
        trial = resting.advanced(task.until, after)
        if lane in alive and not trial.failed:
            self.resting[lane] = resting
        return trial


class _Resting:
    """A training that goes on where it stopped, with random numbers of its own."""

    def __init__(self, task: Task, setting: Setting) -> None:
        training = fresh(setting.make, task.seed)
        seed_everything(task.seed)
        self.training = task.cure.apply(training) if task.cure else copied(training)
        seed_everything(task.seed)
        source, self.held_out, _ = split(self.training, setting.steps)
        seed_everything(task.seed)
        self.batches = in_order(source, setting.steps)
        self.state: Any = random_state()
        self.losses: list[float] = []

    def advanced(self, until: int, after: After) -> Trial:
        """Trains on to this step and takes the metric; an exception is the result."""
        try:
            set_random_state(self.state)
            reason = loop(self.training, islice(self.batches, until - len(self.losses)), self.losses, after)
            self.state = random_state()
            metric = math.nan if reason else judge_metric(self.training, self.held_out)
        except (Exception, SystemExit) as error:
            return Trial(math.nan, tuple(self.losses), failure(error), transient=lacks_memory(error))
        return Trial(metric if math.isfinite(metric) else math.nan, tuple(self.losses), reason)
