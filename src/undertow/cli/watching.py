"""The watch over a program that is not ours: begins when it imports torch, ends with the diagnosis on stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from undertow.foundation import Finding, say
from undertow.foundation.imports import when_imported
from undertow.foundation.numbers import share as percent
from undertow.foundation.vocabulary import Severity


class Stopped(BaseException):
    """Ends the program for a fault: no `except Exception` of its own holds it up."""


class Watching:
    """One line is printed at the start; nothing until `end()`, on the first of several ranks only."""

    def __init__(
        self, program: str, budget: float | None, path: Path | None = None, stop_on: Severity | None = None
    ) -> None:
        """`path` is the run file's, which is made when the first model is found.

        A finding of the severity `stop_on` or above ends the program: Stopped is raised out of an optimizer's step.
        """
        self.process = os.getpid()
        self.measured = 0
        """Steps that were measured whole, once it has ended."""
        self._program, self._budget, self._path = program, budget, path
        self._stop_on: Severity | None = stop_on
        self._file: Any = None
        self._stop: Any = None
        self._out = sys.stderr
        self._discovery: Any = None
        self._failure: Exception | None = None
        if _rank() == 0:
            start = say("run.starts_all", program=program) if budget is None else self._starts(budget)
            print(start, file=self._out, flush=True)
        self._cancel = when_imported("torch", self._begin)

    def _starts(self, budget: float) -> str:
        return say("run.starts", program=self._program, budget=percent(budget, 0 if budget >= 0.01 else 1))

    def _begin(self) -> None:
        """Inside the program's `import torch`: an error of ours must not end it."""
        try:
            from undertow.probe.discovery import Discovery

            self._discovery = Discovery(self._budget, self._found)
        except Exception as error:
            self._failure = error

    def _found(self, observer: Any) -> None:
        """A model trains: from now on its recording goes to the run file."""
        if self._failure is not None or _rank() != 0 or os.getpid() != self.process:
            return
        try:
            if self._path is not None:
                self._record(observer, self._path)
            if self._stop_on is not None:
                from undertow.diagnosis.stopping import Stop

                self._stop = self._stop or Stop(self._stop_on, Stopped, self._budget)
                observer.recording.sinks.append(self._stop)
        except Exception as error:
            self._failure = error

    def _record(self, observer: Any, path: Path) -> None:
        from undertow.probe.describe import describe
        from undertow.record.runfile import RunFile

        self._file = self._file or RunFile(path)
        self._file.follow(observer.recording, describe(observer.model))
        observer.recording.sinks.append(self._file)

    @property
    def stopped(self) -> Finding | None:
        """The fault that ended the program."""
        return self._stop.found if self._stop is not None else None

    def end(self) -> bool:
        """Prints the diagnosis; whether it has a finding above a note."""
        self._cancel()
        try:
            return self._end()
        except Exception as error:
            self._failure = error
            return False
        finally:
            if self._failure is not None and _rank() == 0:
                text = say("run.fault", kind=type(self._failure).__name__, text=self._failure)
                print(text, file=self._out, flush=True)

    def _end(self) -> bool:
        if self._discovery is None:
            if _rank() == 0 and self._failure is None:
                print(say("run.nothing.no_torch", program=self._program), file=self._out, flush=True)
            return False
        recordings = self._discovery.close()
        if self._stop is not None:
            self._stop.close()
        if self._file is not None:
            self._file.close()
        self.measured = sum(len(r.snapshots) for r in recordings)
        self._failure = self._failure or self._discovery.failure
        if _rank() != 0:
            return False
        if not recordings:
            print(self._nothing(), file=self._out, flush=True)
            return False
        from rich.console import Console

        from undertow.report import ending, print_document

        document, sick = ending(recordings, self._program, self._budget)
        console = Console(file=self._out, highlight=False)
        console.print()
        if self.stopped is not None:
            console.print(say("run.stopped", program=self._program, finding=self.stopped.title), soft_wrap=True)
        print_document(document, console)
        if self._file is not None:
            console.print(say("run.file", path=_near(self._file.path)), soft_wrap=True)
        return sick

    def _nothing(self) -> str:
        seen = self._discovery.seen
        if seen.steps:
            return say("run.nothing.unknown", steps=seen.steps)
        key = "no_step" if seen.trained else "evaluated" if seen.evaluated else "no_model"
        return say(f"run.nothing.{key}", program=self._program, name=seen.name)


def _near(path: Path) -> str:
    """The shortest way to name it from where the user is."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _rank() -> int:
    """This process's place among those that train together; torchrun sets it before the program starts."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return int(os.environ.get("RANK", "0"))
