"""Every field of what is recorded becomes columns or JSON and comes back as it was."""

import dataclasses
import itertools
import math
import typing
from types import UnionType

import pytest

from undertow.record import Entry, LossReading, Origin, Reading, Recording, Slope, Snapshot, StepReading
from undertow.record.runfile import schema
from undertow.record.runfile.codec import decoded, encoded, hints, optional
from undertow.record.runfile.columns import Columns


def made(hint: typing.Any, numbers: typing.Iterator[int], special: float | None = None) -> typing.Any:
    """A value of this type that no other field has; floats may all be `special`, and None where they may."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (UnionType, typing.Union):
        return made(next(a for a in inner if a is not type(None)), numbers, special)
    if origin is typing.Literal:
        return inner[-1]
    if dataclasses.is_dataclass(hint):
        fields = [f for f in dataclasses.fields(hint) if f.init]
        return hint(**{f.name: made(hints(hint)[f.name], numbers, special) for f in fields})
    if origin is tuple:
        kinds = inner[:1] * 2 if inner[-1] is ... else inner
        return tuple(made(kind, numbers, special) for kind in kinds)
    if origin is not None:
        return {f"key {next(numbers)}": made(inner[1], numbers, special) for _ in range(2)}
    values = {int: next, float: lambda n: special if special is not None else next(n) + 0.1, bool: lambda _: True}
    return values.get(hint, lambda n: f"text {next(n)}")(numbers)


TABLES = {name: columns for name, columns in vars(schema).items() if isinstance(columns, Columns)}
SKIPPED = {"SNAPSHOTS": ("ledger", "parameters", "alive"), "ENTRIES": ("site", "previous")}


@pytest.mark.parametrize("special", [None, math.nan, math.inf, -math.inf, 0.0, 5e-324])
@pytest.mark.parametrize("table", TABLES)
def test_a_row_gives_the_object_back(table, special):
    columns, kept_elsewhere = TABLES[table], SKIPPED.get(table, ())
    numbers = itertools.count(1)
    fields = [f for f in dataclasses.fields(columns.kind) if f.init]
    given = {
        f.name: made(hints(columns.kind)[f.name], numbers, special) for f in fields if f.name not in kept_elsewhere
    }
    item = columns.kind(**given, **dict.fromkeys(kept_elsewhere))
    row = columns.row(item)
    assert len(row) == len(columns.names)
    stored = [None if isinstance(v, float) and math.isnan(v) else v for v in row]  # as SQLite has it
    assert repr(columns.item(stored, **dict.fromkeys(kept_elsewhere))) == repr(item)


@pytest.mark.parametrize("table", TABLES)
def test_none_and_empty_come_back_as_they_were(table):
    columns = TABLES[table]
    blank = {str: "", int: 0, bool: False, float: 0.0}
    given = {}
    for f in dataclasses.fields(columns.kind):
        hint, may_lack = optional(hints(columns.kind)[f.name])
        if may_lack or f.name in SKIPPED.get(table, ()):
            given[f.name] = None
        elif typing.get_origin(hint) is tuple:
            given[f.name] = ()
        elif typing.get_origin(hint) is typing.Literal:
            given[f.name] = typing.get_args(hint)[0]
        elif dataclasses.is_dataclass(hint):
            given[f.name] = made(hint, itertools.count())
        else:
            given[f.name] = blank.get(hint, {})
    item = columns.kind(**given)
    kept = {name: given[name] for name in SKIPPED.get(table, ())}
    assert columns.item(columns.row(item), **kept) == item


@pytest.mark.parametrize("fact", schema.FACTS)
def test_what_else_a_recording_knows_is_json(fact):
    hint = hints(Recording)[fact]
    value = made(hint, itertools.count()) if typing.get_origin(hint) is not list else ["a", "b"]
    assert decoded(hint, encoded(value)) == value
    assert repr(decoded(float | None, encoded(math.nan))) == "nan"


def test_a_field_that_a_file_lacks_keeps_its_default_and_an_unknown_one_is_left_out():
    assert decoded(LossReading, '{"step": 1, "value": 2.0, "new": 3}') == LossReading(1, 2.0)
    told = '{"step":1,"site":"a","operation":"log","direction":"forward","value":"nan","source":null,"inputs":[]}'
    assert decoded(Origin, told) == Origin(1, "a", "log", "forward", "nan", None, ())


def test_a_not_a_number_that_may_lack_is_told_from_none():
    columns = Columns(StepReading)
    for norm in (None, math.nan, 2.0):
        reading = StepReading(1, 1.0, 0.1, unclipped_norm=norm)
        assert repr(columns.item(columns.row(reading))) == repr(reading)


def test_nothing_of_a_snapshot_is_forgotten():
    """A new field of what is recorded has a column, or stands in this list because the mirror writes it itself."""
    assert {f.name for f in dataclasses.fields(Snapshot)} >= {"ledger", "parameters", "alive"}
    lists = {"name", "steps", "snapshots", "losses", "not_observed", "sinks", "_turns"}
    assert {f.name for f in dataclasses.fields(Recording)} == lists | set(schema.FACTS)


def test_the_columns_of_an_optional_reading_follow_its_fields():
    names = [name.split()[0] for name in Columns(Entry, ("site", "previous")).names]
    assert [n for n in names if n.startswith("slope_")] == [f"slope_{f.name}" for f in dataclasses.fields(Slope)]
    assert [n for n in names if n.startswith("backward_")] == [
        f"backward_{f.name}" for f in dataclasses.fields(Reading)
    ]
