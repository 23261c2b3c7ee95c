"""What every backend does: run tasks, and give each result back as it comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from time import monotonic

from undertow.cures.trials.bench import Bench, Lane
from undertow.cures.trials.task import Setting, Task
from undertow.cures.trials.trial import Trial

Told = Callable[[str, int], None]
"""Is told of the steps of a task: its label, and how many are done."""


class TimeUpError(BaseException):
    """The budget's time is over; no Exception, so that no trial takes it for its own failure."""


class Backend(ABC):
    """Runs the tasks of one search."""

    workers: int = 1
    deadline: float | None = None
    """On the clock of `time.monotonic`; what runs then is broken off."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], alive: Collection[Lane], after: Told) -> Iterator[tuple[Task, Trial]]:
        """Each task with its result, in the order in which they end.

        `alive` are the lanes of a race that may go on; `after` is told of steps while a task runs, where it can be.

        Raises
        ------
        TimeUpError
            The deadline has passed.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends whatever still runs."""


class Serial(Backend):
    """One task after the other, in this process."""

    def __init__(self, setting: Setting) -> None:
        self._bench = Bench(setting)

    def run(self, tasks: Sequence[Task], alive: Collection[Lane], after: Told) -> Iterator[tuple[Task, Trial]]:
        for task in tasks:
            yield task, self._bench.do(task, alive, partial(self._told, after, task.label))

    def _told(self, after: Told, label: str, step: int) -> None:
        if self.deadline is not None and monotonic() > self.deadline:
            raise TimeUpError
        after(label, step)

    def close(self) -> None:
        self._bench.resting.clear()
