"""The run file while the run lasts: a thread of its own writes what recordings hold, once a second.

There is no queue that could overflow or block: a recording is bounded (`record.thinning`), and the thread takes what it
holds.  Events that come faster than the disk takes them are thinned in memory before they are written.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from contextlib import closing, suppress
from os import PathLike
from pathlib import Path
from weakref import WeakSet

from undertow.foundation import OutputError
from undertow.foundation.warn import warn
from undertow.record.description import Description
from undertow.record.recording import Event, NotObserved, Recording
from undertow.record.runfile import schema
from undertow.record.runfile.environment import environment, git, now, script_folder
from undertow.record.runfile.mirror import Mirror

PERIOD = 1.0
"""Seconds between two flushes: what a killed run may lose."""
PATIENCE = 30.0
"""Seconds that closing waits for the last flush, on a disk that hangs, and that a fork waits for the thread to leave
SQLite: a child that inherits one of its locks locked would wait for ever."""
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class RunFile:
    """A sink for the recordings of one run, which become one SQLite file.

    `path` is where it is: a file that was there is never touched, the new one is then called `run-2.undertow`.  An
    error while writing (a full disk) ends the recording, not the training: it is said once as a warning and is among
    the recordings' `not_observed`; what was written until then stays.

    Raises
    ------
    OutputError
        No file can be made there.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = _claimed(Path(path))
        self.failure: Exception | None = None
        self._mirrors: dict[int, Mirror] = {}
        """By the recording's identity; a mirror holds its recording, so none is given away."""
        self._told = False
        self._foreign = False
        self._stop = threading.Event()
        self._busy = threading.Lock()
        """Held by the thread wherever it is inside of SQLite."""
        _create(self.path)
        self._thread = threading.Thread(target=self._work, name="undertow run file", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        _OPEN.add(self)

    def follow(self, recording: Recording, description: Description | None = None) -> None:
        """Write this recording too, with what it holds already; `description` is of its model, and may come later."""
        mirror = self._mirrors.get(id(recording))
        if mirror is None:
            mirror = self._mirrors[id(recording)] = Mirror(recording, len(self._mirrors) + 1)
        mirror.description = description or mirror.description

    def add(self, recording: Recording, event: Event) -> None:
        """As a sink: all there is to do is to see that the recording is followed."""
        if self._foreign:
            return
        if id(recording) not in self._mirrors:
            self.follow(recording)
        if self.failure is not None:
            self._tell()

    def close(self) -> None:
        """Writes what is left, and waits for it."""
        atexit.unregister(self.close)
        if self._foreign or self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self.failure = TimeoutError(f"the last flush took more than {PATIENCE:.0f} s")
        _OPEN.discard(self)
        if self.failure is not None:
            self._tell()

    # ------------------------------------------------------------ in the thread

    def _work(self) -> None:
        try:
            # a local name: a forked child has no such frame to end, so it never closes what is the parent's
            with self._busy:
                db = _connected(self.path)
            try:
                stopping, commit = False, True
                while not stopping:
                    stopping = self._stop.wait(PERIOD)
                    with self._busy:
                        self._flush(db, stopping)
                    if commit:  # after the first flush, which git must not hold up
                        facts = git(script_folder())
                        with self._busy:
                            _put(db, facts)
                        commit = False
                with self._busy:
                    _make_single(db)
            finally:
                with self._busy:
                    db.close()
        except Exception as error:
            self.failure = error

    def _flush(self, db: sqlite3.Connection, last: bool) -> None:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if not last and error.sqlite_errorcode in LOCKED:
                return  # another program holds the file: the next flush writes this one's too
            raise
        with db:
            for mirror in list(self._mirrors.values()):
                mirror.write(db)
            if last:
                _put(db, {"ended": now()})

    # ------------------------------------------------------------ in the training's thread

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            failed = f"{type(self.failure).__name__}: {self.failure}"
            message = f"undertow stopped writing {self.path} ({failed}); the training goes on"
            for mirror in list(self._mirrors.values()):
                mirror.recording.add(NotObserved("the run file", message))
            warn(message)


def _claimed(path: Path) -> Path:
    """A new, empty file at this path, or beside it with the next free number."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        number = 1
        while True:
            wanted = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            try:
                wanted.open("x").close()
                return wanted
            except FileExistsError:
                number += 1
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error


def _create(path: Path) -> None:
    """Makes the tables; the file is whole before the first reading is taken."""
    try:
        with closing(_connected(path)) as db, db:
            db.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            db.execute(f"PRAGMA user_version = {schema.VERSION}")
            db.execute("BEGIN")
            for table in schema.TABLES:
                db.execute(table)
            _put(db, environment())
    except (sqlite3.Error, OSError) as error:
        path.unlink(missing_ok=True)
        raise _refused(path, error) from error


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")  # where a file system can't share memory, SQLite stays with a journal
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _make_single(db: sqlite3.Connection) -> None:
    """A finished file needs no log beside it, and can be read where nothing may be written."""
    with suppress(sqlite3.OperationalError):  # another program reads it just now: it stays as it is
        db.execute("PRAGMA journal_mode = DELETE")


def _put(db: sqlite3.Connection, facts: dict[str, str]) -> None:
    db.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", facts.items())


def _refused(path: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(
        f"the run file {str(path)!r} ({reason})", "a file in a folder that you may write to", 'path="run.undertow"'
    )


# ---------------------------------------------------------------- processes that are forked from this one

_OPEN: WeakSet[RunFile] = WeakSet()
_held = threading.local()


def _before_fork() -> None:
    _held.locks = [file._busy for file in list(_OPEN) if file._busy.acquire(timeout=PATIENCE)]


def _after_fork() -> None:
    for lock in _held.locks:
        lock.release()


def _in_child() -> None:
    for file in list(_OPEN):
        file._foreign = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
