"""One recording in a run file: what it gained since the last look is added, what it let go is deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from operator import is_
from typing import Any

from torch import Tensor

from undertow.record.description import Description
from undertow.record.recording import Recording, Snapshot
from undertow.record.runfile import schema
from undertow.record.runfile.codec import encoded
from undertow.record.runfile.columns import Columns
from undertow.record.site import Site


class Mirror:
    """Belongs to the writer's thread.  The training adds to the recording meanwhile, so each list is taken once."""

    def __init__(self, recording: Recording, model: int) -> None:
        self.recording, self.model = recording, model
        self.description: Description | None = None
        """Set by the training's thread when it is known, or known better."""
        self._named = False
        self._series = [
            Series("steps", schema.STEPS, model),
            Series("losses", schema.LOSSES, model),
        ]
        self._snapshots: dict[int, tuple[Snapshot, int]] = {}
        """By identity: the snapshot, held so that its identity is not given away, and its row."""
        self._sites: dict[Site, int] = {}
        self._parameters: dict[str, int] = {}
        self._noted: set[str] = set()
        self._facts: dict[str, Any] = {}

    def write(self, db: sqlite3.Connection) -> None:
        """Brings the file up to date, inside a transaction of the caller's."""
        if not self._named:
            self._name(db)
            self._named = True
        description, self.description = self.description, None
        if description is not None:
            self._describe(db, description)
        for series in self._series:
            series.write(db, getattr(self.recording, series.name))
        self._write_snapshots(db, self.recording.snapshots)
        self._write_notes(db)
        self._write_facts(db)

    def _name(self, db: sqlite3.Connection) -> None:
        name, others = self.recording.name, 1
        while db.execute("SELECT 1 FROM models WHERE name = ?", (name,)).fetchone():
            others += 1
            name = f"{self.recording.name}-{others}"
        db.execute("INSERT INTO models VALUES (?, ?)", (self.model, name))

    def _describe(self, db: sqlite3.Connection, description: Description) -> None:
        db.execute("DELETE FROM modules WHERE model = ?", (self.model,))
        rows = ((self.model, *schema.MODULES.row(m)) for m in description.modules)
        db.executemany(schema.insert("modules", 1, schema.MODULES), rows)
        new = [name.split()[0] for name in schema.PARAMETERS.names]
        change = ", ".join(f"{name} = excluded.{name}" for name in new)
        add = f"{schema.insert('parameters', 2, schema.PARAMETERS)} ON CONFLICT (model, name) DO UPDATE SET {change}"
        db.executemany(add, ((None, self.model, *schema.PARAMETERS.row(p)) for p in description.parameters))
        known = db.execute("SELECT name, id FROM parameters WHERE model = ?", (self.model,))
        self._parameters = dict(known.fetchall())

    def _write_snapshots(self, db: sqlite3.Connection, snapshots: list[Snapshot]) -> None:
        held = {id(s): s for s in list(snapshots)}
        for gone in self._snapshots.keys() - held.keys():
            _, row = self._snapshots.pop(gone)
            for table in schema.OF_A_SNAPSHOT:
                db.execute(f"DELETE FROM {table} WHERE id BETWEEN ? AND ?", schema.places(row))
            db.execute("DELETE FROM snapshots WHERE id = ?", (row,))
        for identity, snapshot in held.items():
            if identity not in self._snapshots:
                self._snapshots[identity] = snapshot, self._add(db, snapshot)

    def _add(self, db: sqlite3.Connection, snapshot: Snapshot) -> int:
        add = schema.insert("snapshots", 2, schema.SNAPSHOTS)
        row = _row_of(db.execute(add, (None, self.model, *schema.SNAPSHOTS.row(snapshot))))
        entries, (first, _) = snapshot.ledger.entries, schema.places(row)
        sites = [(self._site(db, e.site), e.previous and self._site(db, e.previous)) for e in entries]
        db.executemany(
            schema.insert("entries", 3, schema.ENTRIES),
            ((first + i, *sites[i], *schema.ENTRIES.row(e)) for i, e in enumerate(entries)),
        )
        db.executemany(
            schema.insert("parameter_readings", 2, schema.PARAMETER_READINGS),
            (
                (first + i, self._parameter(db, name), *schema.PARAMETER_READINGS.row(reading))
                for i, (name, reading) in enumerate(snapshot.parameters.items())
            ),
        )
        units = ((first + i, site, *_packed(alive)) for i, (site, alive) in enumerate(snapshot.alive.items()))
        db.executemany("INSERT INTO units VALUES (?, ?, ?, ?)", units)
        return row

    def _site(self, db: sqlite3.Connection, site: Site) -> int:
        if site not in self._sites:
            add = schema.insert("sites", 3, schema.SITES)
            self._sites[site] = _row_of(db.execute(add, (None, self.model, site.name, *schema.SITES.row(site))))
        return self._sites[site]

    def _parameter(self, db: sqlite3.Connection, name: str) -> int:
        """The row of a parameter; one that the description lacks gets a row with its name alone."""
        if name not in self._parameters:
            add = "INSERT INTO parameters (model, name) VALUES (?, ?)"
            self._parameters[name] = _row_of(db.execute(add, (self.model, name)))
        return self._parameters[name]

    def _write_notes(self, db: sqlite3.Connection) -> None:
        for note in list(self.recording.not_observed.values()):
            if note.what not in self._noted:
                self._noted.add(note.what)
                add = schema.insert("not_observed", 1, schema.NOT_OBSERVED)
                db.execute(add, (self.model, *schema.NOT_OBSERVED.row(note)))

    def _write_facts(self, db: sqlite3.Connection) -> None:
        for name in schema.FACTS:
            value = _taken(getattr(self.recording, name))
            if name not in self._facts or not _same(value, self._facts[name]):
                self._facts[name] = value
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (self.model, name, encoded(value)))


class Series:
    """A list of a recording that grows at its end, until a thinned one takes its place."""

    def __init__(self, name: str, columns: Columns, model: int) -> None:
        self.name, self._columns, self._model = name, columns, model
        self._written: list[Any] | None = None
        self._count = 0

    def write(self, db: sqlite3.Connection, readings: list[Any]) -> None:
        """Adds what is new; another list than before is written whole."""
        if readings is not self._written:
            db.execute(f"DELETE FROM {self.name} WHERE model = ?", (self._model,))
            self._written, self._count = readings, 0
        new = readings[self._count :]
        add = schema.insert(self.name, 1, self._columns)
        db.executemany(add, ((self._model, *self._columns.row(r)) for r in new))
        self._count += len(new)


def _taken(value: Any) -> Any:
    """A copy of what the training may add to while it is looked at."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list) else value


def _same(new: Any, old: Any) -> bool:
    """Whether nothing was replaced: readings are frozen, so their identity tells it, a hundred times faster."""
    if isinstance(new, dict):
        return new.keys() == old.keys() and all(map(is_, new.values(), old.values()))
    return new == old


def _row_of(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _packed(alive: Tensor) -> tuple[str, bytes | None]:
    """The mask's shape, and a bit a unit; NULL where all are alive, as they mostly are."""
    shape = json.dumps(list(alive.shape))
    mask = alive.detach().cpu().numpy()
    if mask.all():
        return shape, None
    import numpy as np

    return shape, np.packbits(mask.reshape(-1)).tobytes()
