"""Several workers, each a process with a bench of its own: who gets which task."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from time import monotonic

from undertow.cures.cure import failure
from undertow.cures.search.together import Together
from undertow.cures.trials.backends.backend import Backend, TimeUpError, Told
from undertow.cures.trials.backends.parcel import parcel
from undertow.cures.trials.bench import Lane, lane_of
from undertow.cures.trials.task import Setting, Task
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError, say


class Seat:
    """One worker, which may die."""

    def __init__(self) -> None:
        self.rests: set[Lane] = set()
        """Lanes whose training is held there."""

    @abstractmethod
    def submit(self, call: bytes) -> Future[Trial]: ...

    @abstractmethod
    def kill(self) -> None: ...


class Pool(Backend):
    """A worker goes on with what rests with it, else begins what nobody has begun, else begins another's again.

    The last costs the steps done before, but a worker that waits costs more: it takes what its owner would come to
    last.  No result depends on who does it.
    """

    died: tuple[type[BaseException], ...] = ()
    """What a worker that died raises."""

    def __init__(self, setting: Setting, workers: int, seat: Callable[[int, bytes], Seat]) -> None:
        self.workers = workers
        self._seat, self._setting = seat, parcel(setting, setting.make)
        self._seats: list[Seat | None] = [None] * workers

    def run(self, tasks: Sequence[Task], alive: Collection[Lane], after: Told) -> Iterator[tuple[Task, Trial]]:
        waiting = list(tasks)
        running: dict[Future[Trial], tuple[int, Task]] = {}
        for seat in self._seats:
            if seat is not None:
                seat.rests &= set(alive)
        try:
            while waiting or running:
                for number, task in self._assigned(waiting, {number for number, _ in running.values()}):
                    running[self._sat(number).submit(self._parcel(task, alive))] = number, task
                for future in self._ended(running):
                    number, task = running.pop(future)
                    yield task, self._result(future, number, task, alive)
        finally:
            if running:  # broken off: nobody waits for them any more
                self.close()

    def close(self) -> None:
        for number in range(self.workers):
            self._drop(number)

    def _sat(self, number: int) -> Seat:
        seat = self._seats[number]
        if seat is None:
            seat = self._seats[number] = self._seat(number, self._setting)
        return seat

    def _drop(self, number: int) -> None:
        seat, self._seats[number] = self._seats[number], None
        if seat is not None:
            seat.kill()

    def _parcel(self, task: Task, alive: Collection[Lane]) -> bytes:
        parts = task.cure.parts if isinstance(task.cure, Together) else (task.cure,)
        return parcel((task, set(alive)), *(type(part) for part in parts))

    def _assigned(self, waiting: list[Task], busy: set[int]) -> Iterator[tuple[int, Task]]:
        """Who begins what now; it is taken out of `waiting`."""
        idle = [number for number in range(self.workers) if number not in busy]
        owners = {lane: n for n, seat in enumerate(self._seats) if seat is not None for lane in seat.rests}
        for owned in (True, False):
            for task in list(waiting):
                owner = owners.get(lane_of(task))
                if idle and (owner in idle if owned else owner is None):
                    waiting.remove(task)
                    number = owner if owner is not None else idle[0]
                    idle.remove(number)
                    yield number, task
        while idle and waiting:
            yield idle.pop(0), waiting.pop()

    def _ended(self, running: Collection[Future[Trial]]) -> Collection[Future[Trial]]:
        left = None if self.deadline is None else max(self.deadline - monotonic(), 0)
        ended = wait(running, timeout=left, return_when=FIRST_COMPLETED).done
        if not ended:
            raise TimeUpError
        return ended

    def _result(self, future: Future[Trial], number: int, task: Task, alive: Collection[Lane]) -> Trial:
        try:
            trial = future.result()
        except self.died:
            self._drop(number)
            return Trial(math.nan, reason=say("cures.failed.died"), transient=True)
        except Exception as error:  # a trial's own errors are results: this one was on the way there or back
            raise InputError(
                f"a make(seed) or a cure that another process cannot read ({failure(error)})",
                "one whose modules can be imported there too",
                'backend="serial"',
            ) from error
        if task.until and lane_of(task) in alive and not trial.failed:
            self._sat(number).rests.add(lane_of(task))
        return trial
