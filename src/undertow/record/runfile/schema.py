"""The tables of a run file (docs/runfile.md tells them to a reader); most columns follow from the dataclasses.

A change of any column is a new version: raise VERSION, and teach `reader` to read the older ones.
"""

from __future__ import annotations

from dataclasses import fields

from undertow.foundation import EFFECTS
from undertow.record.description import ModuleFact, ParameterFact
from undertow.record.ledger import Entry
from undertow.record.reading import Reading
from undertow.record.recording import LossReading, NotObserved, ParameterReading, Recording, Snapshot, StepReading
from undertow.record.runfile.columns import Columns
from undertow.record.site import Site

APPLICATION = int.from_bytes(b"utow", "big")
"""SQLite's application_id, by which a run file is known (`file run.undertow` shows it)."""
VERSION = 1

STEPS = Columns(StepReading)
LOSSES = Columns(LossReading)
SNAPSHOTS = Columns(Snapshot, without=("ledger", "parameters", "alive"))
ENTRIES = Columns(Entry, without=("site", "previous"))
PARAMETER_READINGS = Columns(ParameterReading)
SITES = Columns(Site)
MODULES = Columns(ModuleFact)
PARAMETERS = Columns(ParameterFact)
NOT_OBSERVED = Columns(NotObserved)

PLACES = 1 << 24
"""The rows of a snapshot have the ids from `snapshot * PLACES` on: they lie together without an index."""
_IN_SNAPSHOT = f"{{0}}.id BETWEEN s.id * {PLACES} AND s.id * {PLACES} + {PLACES - 1}"

FACTS = tuple(
    f.name
    for f in fields(Recording)
    if f.compare and f.name not in ("name", "steps", "snapshots", "losses", "not_observed")
)
"""What else a recording knows: a row each in the table `facts`."""


def _table(name: str, keys: str, columns: Columns | None = None, end: str = "") -> str:
    inner = [keys, *(f'"{n}" {kind}' for n, kind in (c.split() for c in columns.names))] if columns else [keys]
    return f"CREATE TABLE {name} ({', '.join(inner)}{end}"


def _readings() -> str:
    """One row for each tensor that was measured, whatever it was."""
    wanted = [f.name for f in fields(Reading)]

    def part(what: str, name: str, table: str, prefix: str) -> str:
        values = ", ".join(f"r.{prefix}_{w} AS {w}" for w in wanted)
        return (
            f"SELECT m.name AS model, s.step, {name} AS name, '{what}' AS what, {values} FROM {table} "
            f"JOIN models m ON m.id = s.model WHERE r.{prefix}_count IS NOT NULL"
        )

    sites = f"snapshots s JOIN entries r ON {_IN_SNAPSHOT.format('r')} JOIN sites t ON t.id = r.site"
    weights = (
        f"snapshots s JOIN parameter_readings r ON {_IN_SNAPSHOT.format('r')} JOIN parameters t ON t.id = r.parameter"
    )
    parts = [part("input", "'input'", "snapshots s JOIN snapshots r ON r.id = s.id", "inputs")]
    parts += [part(what, "t.name", sites, what) for what in ("forward", "backward")]
    parts += [part(what, "t.name", weights, what) for what in ("weight", "gradient", "update")]
    return f"CREATE VIEW readings AS {' UNION ALL '.join(parts)}"


def _ledger() -> str:
    """The account of each measured step, from input to output."""
    effects = ", ".join(f"e.{effect}" for effect in EFFECTS)
    return (
        f"CREATE VIEW ledger AS SELECT m.name AS model, s.step, e.id & {PLACES - 1} AS position, t.name AS site, "
        "t.operation, t.source, p.name AS previous, e.on_path, e.forward_rms, e.backward_rms, "
        f"{' * '.join(f'e.{effect}' for effect in EFFECTS)} AS factor, {effects}, "
        "e.slope_activation, e.slope_mean, e.slope_flat, e.slope_dead, e.slope_units "
        f"FROM snapshots s JOIN entries e ON {_IN_SNAPSHOT.format('e')} JOIN models m ON m.id = s.model "
        "JOIN sites t ON t.id = e.site LEFT JOIN sites p ON p.id = e.previous"
    )


TABLES = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE facts (model INTEGER, key TEXT, value TEXT, PRIMARY KEY (model, key)) WITHOUT ROWID",
    _table("modules", "model INTEGER", MODULES, ")"),
    _table("parameters", "id INTEGER PRIMARY KEY, model INTEGER", PARAMETERS, ", UNIQUE (model, name))"),
    _table("sites", "id INTEGER PRIMARY KEY, model INTEGER, name TEXT", SITES, ")"),
    _table("not_observed", "model INTEGER", NOT_OBSERVED, ")"),
    _table("steps", "model INTEGER", STEPS, ")"),
    _table("losses", "model INTEGER", LOSSES, ")"),
    _table("snapshots", "id INTEGER PRIMARY KEY, model INTEGER", SNAPSHOTS, ")"),
    _table("entries", "id INTEGER PRIMARY KEY, site INTEGER, previous INTEGER", ENTRIES, ")"),
    _table("parameter_readings", "id INTEGER PRIMARY KEY, parameter INTEGER", PARAMETER_READINGS, ")"),
    "CREATE TABLE units (id INTEGER PRIMARY KEY, site TEXT, shape TEXT, alive BLOB)",
    _readings(),
    _ledger(),
)
OF_A_SNAPSHOT = ("entries", "parameter_readings", "units")
"""Tables with rows of a snapshot."""


def places(snapshot: int) -> tuple[int, int]:
    """The first and the last id that a row of this snapshot can have."""
    return snapshot * PLACES, (snapshot + 1) * PLACES - 1


def insert(table: str, keys: int, columns: Columns) -> str:
    """The statement that adds a row: its key columns, then those of the object."""
    return f"INSERT INTO {table} VALUES ({', '.join('?' * (keys + len(columns.names)))})"
