"""The bar of a search, on stderr and only on a terminal: optimizer steps done and to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from undertow.foundation import say

PERIOD = 0.1
"""Seconds between two drawings at least."""


class Bar:
    """Counts; what is drawn follows from it."""

    def __init__(self) -> None:
        self.total, self.finished = 0, 0
        self._now, self._within, self._drawn = "", 0, 0.0

    def expect(self, steps: int) -> None:
        """So many steps are still to do."""
        self.total = self.finished + steps
        self._draw(force=True)

    def known(self, steps: int) -> None:
        """So many of them are not, since an earlier run has done them."""
        self.expect(max(self.total - self.finished - steps, 0))

    def step(self, label: str, step: int) -> None:
        """A trial that runs in this process has done its `step`th step; "" is the control."""
        self._now = label
        self._within = min(self._within + bool(step), self.total - self.finished)
        self._draw(force=not step)

    def done(self, label: str, steps: int) -> None:
        """A trial of so many steps has ended, be it by a failure after the first."""
        self._now, self._within = label, 0
        self.finished += steps
        self.total = max(self.total, self.finished)
        self._draw(force=True)

    def _draw(self, force: bool = False) -> None:
        if force or monotonic() - self._drawn > PERIOD:
            self._drawn = monotonic()
            self.show(self._now or say("cures.control"), self.finished + self._within, self.total)

    def show(self, label: str, done: int, total: int) -> None:
        """Nothing here; on a terminal it is drawn."""


class _Drawn(Bar):
    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar, self._task = bar, bar.add_task("", total=0)

    def show(self, label: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=label, completed=done, total=total)


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Bar]:
    """The time left is that of the steps that are planned at the pace of those done since the start."""
    if not (wanted and sys.stderr.isatty()):
        yield Bar()
        return
    # Imported here, since `import undertow` must stay light.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        def render(self, task: Any) -> Text:
            if not task.completed or not task.elapsed:
                return Text("-:--")
            left = round(task.elapsed / task.completed * max((task.total or 0) - task.completed, 0))
            return Text(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}" if left >= 3600 else _minutes(left))

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Drawn(bar)


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"
