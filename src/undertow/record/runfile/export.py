"""A run file's tables for other programs: CSV, Parquet, TensorBoard."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from undertow.foundation import InputError

MODEL = "(SELECT name FROM models WHERE id = t.model) AS model"
TABLES = ("run", "facts", "modules", "parameters", "not_observed", "steps", "losses", "readings", "ledger")
"""Tables and views; rows of a model have its name instead of its number."""
BATCH = 1 << 16
"""Rows that are in memory at a time."""
KINDS = {"INTEGER": "int64", "REAL": "float64", "TEXT": "string"}

Folder = Callable[[], Path]
"""Makes the folder, once nothing else can go wrong."""


class Rows:
    """The rows of a table or view, with the names and types of their columns."""

    def __init__(self, db: sqlite3.Connection, table: str) -> None:
        columns = [(name, kind) for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})")]
        own = [(name, kind) for name, kind in columns if name not in ("id", "model")]
        named = any(name == "model" for name, _ in columns)
        model = [] if not named else ["model"] if table in ("readings", "ledger") else [MODEL]
        self.names = ["model"] * named + [name for name, _ in own]
        self.kinds = ["TEXT"] * named + [kind or _kind(db, table, name) for name, kind in own]
        chosen = ", ".join([*model, *(f't."{name}"' for name, _ in own)])
        self._cursor = db.execute(f"SELECT {chosen} FROM {table} t")

    def batches(self) -> Iterator[list[tuple[Any, ...]]]:
        while rows := self._cursor.fetchmany(BATCH):
            yield rows


def to_csv(db: sqlite3.Connection, folder: Folder) -> list[Path]:
    """A file a table; what is NULL (NaN, or not there) is empty."""
    into, written = folder(), []
    for table in TABLES:
        rows = Rows(db, table)
        written.append(into / f"{table}.csv")
        with written[-1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(rows.names)
            for batch in rows.batches():
                writer.writerows(batch)
    return written


def to_parquet(db: sqlite3.Connection, folder: Folder) -> list[Path]:
    """A file a table, typed."""
    arrow, parquet = _package("pyarrow", "pyarrow"), _package("pyarrow.parquet", "pyarrow")
    into, written = folder(), []
    for table in TABLES:
        rows = Rows(db, table)
        schema = arrow.schema([(n, getattr(arrow, KINDS[k])()) for n, k in zip(rows.names, rows.kinds, strict=True)])
        written.append(into / f"{table}.parquet")
        with parquet.ParquetWriter(written[-1], schema) as file:
            for batch in rows.batches():
                columns = [[row[i] for row in batch] for i in range(len(schema))]
                typed = (list(map(_number, c)) if k == "REAL" else c for c, k in zip(columns, rows.kinds, strict=True))
                arrays = [arrow.array(c, field.type) for c, field in zip(typed, schema, strict=True)]
                file.write_table(arrow.Table.from_arrays(arrays, schema=schema))
    return written


def to_tensorboard(db: sqlite3.Connection, folder: Folder) -> list[Path]:
    """Event files: losses, gradients and rates of each step, and of measured steps the sizes at each site."""
    _package("tensorboard", "tensorboard")
    writer_of = _package("torch.utils.tensorboard", "tensorboard").SummaryWriter
    into = folder()
    several = db.execute("SELECT count(*) FROM models").fetchone()[0] > 1
    with writer_of(str(into)) as writer:
        for model, tag, value, step in _scalars(db):
            if value is not None:
                writer.add_scalar(f"{model}/{tag}" if several else tag, float(value), step)
    return sorted(into.glob("events.out.tfevents.*"), key=lambda p: p.stat().st_mtime)[-1:]


def _scalars(db: sqlite3.Connection) -> Iterator[tuple[str, str, Any, int]]:
    """Model, tag, value, step."""
    yield from db.execute(f"SELECT {MODEL}, 'loss', value, step FROM losses t ORDER BY rowid")
    for column in ("gradient_norm", "unclipped_norm", "learning_rate", "loss_scale"):
        yield from db.execute(
            f"SELECT {MODEL}, '{column}/optimizer ' || optimizer, {column}, step FROM steps t ORDER BY rowid"
        )
    yield from db.execute(
        "SELECT model, what || '_rms/' || name, rms, step FROM readings "
        "WHERE what IN ('forward', 'backward', 'gradient', 'weight', 'update')"
    )
    yield from db.execute(
        "SELECT u.model, 'update_to_weight/' || u.name, u.rms / w.rms, u.step FROM readings u JOIN readings w "
        "ON w.model = u.model AND w.step = u.step AND w.name = u.name AND w.what = 'weight' "
        "WHERE u.what = 'update' AND w.rms > 0"
    )


def _kind(db: sqlite3.Connection, view: str, name: str) -> str:
    """The type of what a view computes."""
    found = db.execute(f'SELECT upper(typeof("{name}")) FROM {view} WHERE "{name}" IS NOT NULL LIMIT 1').fetchone()
    return found[0] if found else "TEXT"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _package(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"an export that needs the package {package}, which is not installed ({error})",
            f"{package}, of the extra `export`",
            "pip install 'undertow[export]'",
        ) from error


EXPORTS: dict[str, Callable[[sqlite3.Connection, Folder], list[Path]]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "tensorboard": to_tensorboard,
}
