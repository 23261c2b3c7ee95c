"""`load`: a run as its file tells it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from undertow.diagnosis.diagnosis import Diagnosis
from undertow.diagnosis.judge import judge
from undertow.foundation import NothingObservedError, UnknownNameError
from undertow.record import Recording
from undertow.record.runfile import Saved, read


class SavedRun:
    """A run read from its file, as it was when it was read.

    `recording` and `diagnose()` are as those of a `Run`; where a run had several models, `names` are theirs.
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved

    @property
    def path(self) -> Path:
        return self._saved.path

    @property
    def environment(self) -> dict[str, str]:
        """Versions, machine, variables, command line, commit; `ended` is there where the run was closed."""
        return self._saved.facts

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(r.name for r in self._saved.recordings)

    @property
    def damage(self) -> tuple[str, ...]:
        """What could not be read, and why."""
        return tuple(self._saved.damage)

    @property
    def recording(self) -> Recording:
        """Of the first model, mostly the only one."""
        return self._of(None)

    def diagnose(self, name: str | None = None) -> Diagnosis:
        """What the run shows of a model, by default the first.  Raises NothingObservedError where nothing was seen."""
        return judge(self._of(name))

    def _of(self, name: str | None) -> Recording:
        if not self.names:
            damage = f" ({'; '.join(self.damage)})" if self.damage else ""
            raise NothingObservedError(
                f"the run file {str(self.path)!r}, in which no model was observed{damage}",
                "a run that made at least one step",
                "undertow run train.py",
            )
        if name is not None and name not in self.names:
            raise UnknownNameError(f"the model {name!r}", "a model of this run", " or ".join(map(repr, self.names)))
        return next(r for r in self._saved.recordings if name in (None, r.name))


def load(path: str | PathLike[str]) -> SavedRun:
    """Read a run file, as `ut.watch(model, path="run.undertow")` writes it.

    It may be one that is being written: what it holds is read as of this moment.  Of a damaged one whatever SQLite can
    read is read; `SavedRun.damage` and the diagnosis' `not_observed` say what is missing.

    Raises
    ------
    InputError
        There is no such file, it is no run file, or one of a newer version of undertow.
    """
    return SavedRun(read(path))
