"""The bar of a search, on stderr and only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from undertow.foundation import say

Advance = Callable[[str, int], None]


@contextmanager
def progress_bar(trials: int, wanted: bool = True) -> Iterator[Advance]:
    """`advance(label, n)`: this is being tried now, and n more trials are done; with n < 0 so many more are to do."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda label, done: None
        return
    # Imported here, since `import undertow` must stay light.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=trials)

        def advance(label: str, done: int) -> None:
            text = label or say("cures.control")
            if done < 0:
                bar.update(task, description=text, total=(bar.tasks[0].total or 0) - done)
            else:
                bar.update(task, description=text, advance=done)

        yield advance
