"""A run file read back, also while it is written, and as far as it goes where it is damaged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.record.ledger import Entry, Ledger
from undertow.record.recording import NotObserved, ParameterReading, Recording, Snapshot
from undertow.record.runfile import schema
from undertow.record.runfile.codec import decoded, hints
from undertow.record.runfile.columns import Columns
from undertow.record.site import Site

DAMAGED = "the run file"
"""What `not_observed` calls it."""


@dataclass
class Saved:
    """What a run file holds."""

    path: Path
    facts: dict[str, str]
    """Of the run: versions, machine, command line, commit."""
    recordings: list[Recording] = field(default_factory=list)
    """One a model."""
    damage: list[str] = field(default_factory=list)
    """What could not be read, and why."""


def read(path: str | PathLike[str]) -> Saved:
    """Everything in a run file.

    Raises
    ------
    InputError
        There is no such file, it is none of ours, or one of a newer version.
    """
    with opened(path) as db:
        return _Reader(Path(path), db).read()


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[sqlite3.Connection]:
    """The database, read-only and as it is at this moment, for whoever asks in SQL."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"the path {str(path)!r}, " + ("a folder" if path.is_dir() else "where no file is"),
            "a run file, as ut.watch(model, path=...) writes it",
            "run.undertow",
        )
    with TemporaryDirectory(prefix="undertow-") as folder, closing(_connected(path, Path(folder))) as db:
        db.execute("BEGIN")
        yield db


def _connected(path: Path, folder: Path) -> sqlite3.Connection:
    try:
        return _checked(path, path)
    except sqlite3.OperationalError:  # in a read-only folder, the log that a killed run left can be read beside a copy
        for suffix in ("", "-wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copy(part, folder / part.name)
        path, shown = folder / path.name, path
    except sqlite3.DatabaseError:
        shown = path
    try:
        return _checked(path, shown, mended=True)
    except sqlite3.Error as error:
        raise _none_of_ours(shown, str(error)) from error


def _checked(path: Path, shown: Path, mended: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        if mended:  # lets SQLite open a file that ends too early
            db.execute("PRAGMA writable_schema = ON")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != schema.APPLICATION:
            raise _none_of_ours(shown, "it lacks the mark of one")
        if version > schema.VERSION:
            raise InputError(
                f"the run file {str(shown)!r} of version {version}",
                f"version {schema.VERSION} or older, which this undertow reads",
                "pip install --upgrade undertow",
            )
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _none_of_ours(path: Path, why: str) -> InputError:
    return InputError(
        f"the file {str(path)!r} ({why})", "a run file, as ut.watch(model, path=...) writes it", "run.undertow"
    )


class _Reader:
    """Reads table by table; what SQLite finds malformed is left out and listed in `damage`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.db = db
        self.saved = Saved(path, {})

    def read(self) -> Saved:
        self.saved.facts.update(self._rows("run", "SELECT key, value FROM run"))
        for model, name in self._rows("models", "SELECT id, name FROM models ORDER BY id"):
            self.saved.recordings.append(self._recording(model, name))
        return self.saved

    def _rows(self, what: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, up to where the file is damaged."""
        rows: list[tuple[Any, ...]] = []
        try:
            rows.extend(self.db.execute(query, values))  # extend keeps what came before an error
        except sqlite3.DatabaseError as error:
            self.saved.damage.append(f"{what}: {error}, {len(rows)} rows read")
        return rows

    def _items(self, table: str, columns: Columns, model: int) -> list[Any]:
        rows = self._rows(table, f"SELECT {_listed(columns)} FROM {table} WHERE model = ? ORDER BY rowid", model)
        return [item for row in rows if (item := self._made(table, columns.item, row)) is not None]

    def _made(self, what: str, make: Callable[..., Any], *values: Any) -> Any:
        """What `make` gives, None where the values make no sense."""
        try:
            return make(*values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.saved.damage.append(f"{what}: a row makes no sense ({type(error).__name__}: {error})")
            return None

    def _recording(self, model: int, name: str) -> Recording:
        before = len(self.saved.damage)
        facts = self._rows("facts", "SELECT key, value FROM facts WHERE model = ?", model)
        notes: list[NotObserved] = self._items("not_observed", schema.NOT_OBSERVED, model)
        recording = Recording(
            steps=self._items("steps", schema.STEPS, model),
            losses=self._items("losses", schema.LOSSES, model),
            snapshots=self._snapshots(model),
            not_observed={note.what: note for note in notes},
            name=name,
            **{key: decoded(hints(Recording)[key], value) for key, value in facts if key in schema.FACTS},
        )
        lost = self.saved.damage[before:]
        if lost:
            recording.not_observed[DAMAGED] = NotObserved(DAMAGED, f"damaged ({'; '.join(lost)})")
        return recording

    def _snapshots(self, model: int) -> list[Snapshot]:
        sites = self._rows("sites", f"SELECT id, {_listed(schema.SITES)} FROM sites WHERE model = ?", model)
        self._sites: dict[int, Site] = {row[0]: schema.SITES.item(row[1:]) for row in sites}
        self._names = dict(self._rows("parameters", "SELECT id, name FROM parameters WHERE model = ?", model))
        query = f"SELECT id, {_listed(schema.SNAPSHOTS)} FROM snapshots WHERE model = ? ORDER BY id"
        rows, damage = self._rows("snapshots", query, model), self.saved.damage
        found, lost = [], ""
        for row in rows:
            before = len(damage)
            snapshot = self._made("snapshots", self._snapshot, row)
            if len(damage) == before:
                found.append(snapshot)  # half a ledger would tell a false story
            else:
                lost = damage[before]
                del damage[before:]
        if lost:
            damage.append(f"{len(rows) - len(found)} of {len(rows)} measured steps ({lost})")
        return found

    def _snapshot(self, row: tuple[Any, ...]) -> Snapshot:
        """Its rows are read here; what they say is made out when it is looked at, which most of a run never is."""
        entries, parameters, units = (self._part(row[0], table) for table in schema.OF_A_SNAPSHOT)
        sites = [(self._sites[r[1]], r[2] and self._sites[r[2]]) for r in entries]
        return schema.SNAPSHOTS.item(
            row[1:],
            ledger=Ledger(partial(_entries, entries, sites), row[1]),
            parameters=_Parameters({self._names[r[1]]: r for r in parameters}),
            alive={r[1]: _unpacked(r[2], r[3]) for r in units},
        )

    def _part(self, snapshot: int, table: str) -> list[tuple[Any, ...]]:
        query = f"SELECT * FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id"
        return self._rows(table, query, *schema.places(snapshot))


def _entries(rows: list[tuple[Any, ...]], sites: list[tuple[Site, Site | None]]) -> tuple[Entry, ...]:
    item = schema.ENTRIES.item
    return tuple(item(r[3:], site=site, previous=before) for r, (site, before) in zip(rows, sites, strict=True))


class _Parameters(Mapping[str, ParameterReading]):
    def __init__(self, rows: dict[str, tuple[Any, ...]]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> ParameterReading:
        return schema.PARAMETER_READINGS.item(self._rows[name][2:])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _listed(columns: Columns) -> str:
    return ", ".join(f'"{name.split()[0]}"' for name in columns.names)


def _unpacked(shape: str, alive: bytes | None) -> Tensor:
    size = json.loads(shape)
    if alive is None:
        return torch.ones(size, dtype=torch.bool)
    bits = np.unpackbits(np.frombuffer(alive, np.uint8), count=int(np.prod(size)))
    return torch.from_numpy(bits.astype(bool)).reshape(size)
