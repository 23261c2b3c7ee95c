"""The columns of a table follow from a dataclass: a field a column, those of a dataclass in it with its name before.

NaN is stored as NULL, as SQLite has it.  Where NULL says None, because the field may be None, NaN is the text 'nan'.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Any

from undertow.record.runfile.codec import decoded, encoded, hints, optional

TYPES = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT"}

Row = Sequence[Any]
Reader = Callable[[Row], Any]


@dataclass(frozen=True)
class Block:
    """What takes more than a look-up to write: from the value of a field to columns and back."""

    path: str
    names: tuple[str, ...]
    write: Callable[[Any], tuple[Any, ...]]
    read: Callable[[tuple[Any, ...]], Any]


class Columns:
    """How objects of one dataclass become rows and are read back.

    A field that may be None and is a dataclass that begins with an integer or a name (a `Reading`, a `Slope`) has
    columns too, with NULL in the first where it is None.  Whatever else there is, is one column of JSON.
    `without` names fields that are kept elsewhere and are given to `item` as keywords.
    """

    def __init__(self, kind: Any, without: Collection[str] = ()) -> None:
        self.kind = kind
        self._plain: list[tuple[str, str]] = []
        self._blocks: list[Block] = []
        shape = self._collect(kind, without, "")
        get = attrgetter(*(path for path, _ in self._plain))
        self._get = get if len(self._plain) > 1 else lambda item: (get(item),)
        self._writers = [(attrgetter(block.path), block.write) for block in self._blocks]
        starts, at = [], len(self._plain)
        for block in self._blocks:
            starts.append(at)
            at += len(block.names)
        self._starts = starts
        self._build = self._builder(shape)
        self.names = tuple(name for _, name in self._plain) + tuple(n for b in self._blocks for n in b.names)
        """With their types: `forward_rms REAL`."""

    def row(self, item: Any) -> tuple[Any, ...]:
        """The values of the columns, in their order."""
        values = self._get(item)
        for get, write in self._writers:
            values += write(get(item))
        return values

    def item(self, row: Row, **more: Any) -> Any:
        """The object whose row this is."""
        return self._build(row, more)

    def _collect(self, kind: Any, without: Collection[str], path: str) -> tuple[Any, dict[str, Any]]:
        """The kind, and for each field the place of its value: an index of the plain ones, a block, or a shape."""
        found: dict[str, Any] = {}
        for name in (f.name for f in fields(kind) if f.init and f.name not in without):
            hint, may_lack = optional(hints(kind)[name])
            hint = str if typing.get_origin(hint) is typing.Literal else hint
            here = f"{path}{name}"
            column = here.replace(".", "_")
            if is_dataclass(hint) and not may_lack:
                found[name] = self._collect(hint, (), here + ".")
            elif hint in TYPES and not (may_lack and hint is float):
                found[name] = len(self._plain), hint, may_lack
                self._plain.append((here, f"{column} {TYPES[hint]}"))
            else:
                found[name] = len(self._blocks)
                self._blocks.append(_block(here, column, hint, may_lack))
        return kind, found

    def _builder(self, shape: tuple[Any, dict[str, Any]]) -> Callable[..., Any]:
        kind, found = shape
        readers = {name: self._reader(place) for name, place in found.items()}

        def build(row: Row, more: dict[str, Any]) -> Any:
            return kind(**{name: read(row) for name, read in readers.items()}, **more)

        return build

    def _reader(self, place: Any) -> Reader:
        if isinstance(place, int):
            block, start = self._blocks[place], self._starts[place]
            end = start + len(block.names)
            return lambda row: block.read(tuple(row[start:end]))
        if isinstance(place[0], int):
            return _plain_reader(*place)
        build = self._builder(place)
        return lambda row: build(row, {})


def _plain_reader(index: int, hint: type, may_lack: bool) -> Reader:
    if hint is float:
        return lambda row: math.nan if row[index] is None else row[index]
    if hint is bool:
        return lambda row: None if row[index] is None and may_lack else bool(row[index])
    return lambda row: row[index]


def _block(path: str, column: str, hint: Any, may_lack: bool) -> Block:
    if is_dataclass(hint) and hints(hint)[fields(hint)[0].name] in (int, str):
        inner = Columns(hint)
        nulls = (None,) * len(inner.names)
        return Block(
            path,
            tuple(f"{column}_{name}" for name in inner.names),
            lambda value: nulls if value is None else inner.row(value),
            lambda row: None if row[0] is None else inner.item(row),
        )
    if hint is float:
        return Block(
            path,
            (f"{column} REAL",),
            lambda value: ("nan" if value is not None and math.isnan(value) else value,),
            lambda row: None if row[0] is None else float(row[0]),
        )
    return Block(
        path,
        (f"{column} TEXT",),
        lambda value: (None if value is None or (not may_lack and not value) else encoded(value),),
        lambda row: (None if may_lack else _empty(hint)) if row[0] is None else decoded(hint, row[0]),
    )


def _empty(hint: Any) -> Any:
    """What NULL stands for in a column of tuples, lists or mappings."""
    kind = typing.get_origin(hint) or hint
    return kind() if kind in (tuple, list) else {}
