"""The file of a search: every finished trial at once, so that a killed search goes on where it was."""

from __future__ import annotations

import math
import sqlite3
from contextlib import suppress
from os import PathLike
from pathlib import Path

from undertow.cures.trials.question import different
from undertow.cures.trials.task import Task
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError, OutputError
from undertow.foundation.warn import warn
from undertow.record.runfile.columns import Columns

APPLICATION = int.from_bytes(b"utoc", "big")
"""SQLite's application_id, by which a search file is known."""
VERSION = 1
"""Raised with any change of the tables; those of the trials follow from `Trial`."""
PATIENCE = 30.0
"""Seconds to wait for another program that reads the file."""

_TRIALS = Columns(Trial)
_NAMES = [name.split()[0] for name in _TRIALS.names]
_TABLES = (
    "CREATE TABLE question (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    f"CREATE TABLE trials (label TEXT, change TEXT, seed INTEGER, until INTEGER, {', '.join(_TRIALS.names)}, "
    "PRIMARY KEY (change, seed, until))",
)


class Store:
    """Results by their task.

    Raises
    ------
    InputError
        A file of another question, of a newer version, or no file of a search.
    OutputError
        The file can't be made.
    """

    def __init__(self, path: str | PathLike[str], question: dict[str, str]) -> None:
        self.path = Path(path)
        self.failure: sqlite3.Error | None = None
        self._db = self._opened()
        try:
            self._taken_up(question)
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._none_of_ours(str(error)) from error
        except BaseException:
            self.close()
            raise

    def get(self, task: Task) -> Trial | None:
        """The result of an earlier run; None where there is none."""
        sql = f"SELECT {', '.join(_NAMES)} FROM trials WHERE change = ? AND seed = ? AND until = ?"
        row = self._db.execute(sql, task.key).fetchone()
        return None if row is None else _sound(_TRIALS.item(row))

    def put(self, task: Task, trial: Trial) -> None:
        """Keeps it; what failed for want of memory or by a process that died is tried again by the next run.

        A disk that is full ends the keeping, not the search.
        """
        if trial.transient or self.failure is not None:
            return
        values = (task.label, *task.key, *_TRIALS.row(trial))
        try:
            self._db.execute(f"INSERT OR REPLACE INTO trials VALUES ({', '.join('?' * len(values))})", values)
        except sqlite3.Error as error:
            self.failure = error
            warn(f"undertow stopped writing {self.path} ({error}); the search goes on")

    def close(self) -> None:
        with suppress(sqlite3.Error):  # another program reads it just now: its log stays beside it
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise OutputError(
                f"the search file {str(self.path)!r} ({error})",
                "a file in a folder that you may write to",
                'path="search.undertow"',
            ) from error

    def _taken_up(self, question: dict[str, str]) -> None:
        db = self._db
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and application == 0:
            self._made()
        elif application != APPLICATION:
            raise self._none_of_ours("it lacks the mark of one")
        elif version != VERSION:
            raise InputError(
                f"the search file {str(self.path)!r} of version {version}",
                f"version {VERSION}, which this undertow writes",
                "another path: a search can be taken up by the undertow that began it",
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if other := different(question, dict(db.execute("SELECT key, value FROM question"))):
            raise InputError(
                f"the search file {str(self.path)!r} of another question (not the same: {', '.join(other)})",
                "the file of a search for a cure of this training, or a path where no file is",
                'path="another.undertow"',
            )
        db.executemany("INSERT OR IGNORE INTO question VALUES (?, ?)", question.items())

    def _made(self) -> None:
        db = self._db
        db.execute("BEGIN EXCLUSIVE")
        with db:
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            for table in _TABLES:
                db.execute(table)

    def _none_of_ours(self, why: str) -> InputError:
        return InputError(
            f"the file {str(self.path)!r} ({why})",
            "a search file, as ut.cure(make, path=...) writes it, or a path where no file is",
            'path="search.undertow"',
        )


def _sound(trial: Trial) -> Trial:
    """NaN is one object, as in a trial that has just been run, so that two results compare equal."""
    metrics = tuple((step, math.nan if math.isnan(value) else value) for step, value in trial.metrics)
    object.__setattr__(trial, "metrics", metrics)
    return trial
