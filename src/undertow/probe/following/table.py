"""Where the numbers of a pass that follows a plan lie: rows that the plan lays out once, for all of its passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from undertow.native import Readings, SlopeStatistics
from undertow.probe.following.listening import Handed, Hook
from undertow.probe.following.survey import Graph, Part
from undertow.probe.tracing.slopes import Measured, Way


class Activity(NamedTuple):
    """How the slope of an activation is measured, and where it is written."""

    way: Way
    channels_first: bool
    units: int
    slot: int
    """In the rows of the forward pass."""
    first: int
    """Of its marks, a byte a unit: whether f′ differs from 0 for any sample."""


class Table:
    """The rows of a forward pass, those of its backward pass, and the marks of the units."""

    def __init__(self, graph: Graph, hooks: Sequence[Hook], measured: Sequence[Measured | None]) -> None:
        rows = 0
        forward: list[range] = []
        activities: list[Activity | None] = []
        self.units = 0
        for stop, found in zip(graph.stops, measured, strict=False):
            forward.append(range(rows, rows := rows + stop.parts))
            if found is None:
                activities.append(None)
                continue
            units = len(found.alive)
            activities.append(Activity(found.way, found.channels_first, units, rows, self.units))
            rows, self.units = rows + 1, self.units + units
        self.rows, self.forward, self.activities = rows, tuple(forward), tuple(activities)
        own = [part for hook in hooks for _, part in hook.own]
        handed = [share for hook in hooks for _, share in (*hook.handed, *hook.pooled)]
        self.own: dict[Part, int] = {part: slot for slot, part in enumerate(own)}
        self.handed: dict[Handed, int] = {s: len(own) + i for i, s in enumerate(dict.fromkeys(handed))}
        self.backward_rows = len(self.own) + len(self.handed)
        self.names = {s.site.name: i for i, s in enumerate(graph.stops) if s.site is not None and i < len(activities)}


class Slopes(Mapping[str, Tensor]):
    """Per activation of a pass, which of its units had f′ ≠ 0; and what else was measured of its slope."""

    __slots__ = ("_alive", "_others", "_table", "readings")

    def __init__(self, table: Table, readings: Readings, alive: Tensor, others: Mapping[int, Measured]) -> None:
        """`others` are those that no kernel has written into the rows."""
        self._table, self._alive, self._others = table, alive, others or None
        self.readings = readings

    def measured(self, operation: int) -> Measured | None:
        if self._others is not None and operation in self._others:
            return self._others[operation]
        activity = self._table.activities[operation]
        if activity is None or not self.readings.has(activity.slot):
            return None
        count, mean, rms, flat, dead, *_ = self.readings.numbers(activity.slot)
        alive = self._alive[activity.first : activity.first + activity.units]
        found = SlopeStatistics(int(count), alive, (mean, rms, flat, dead))
        return Measured(activity.way, activity.channels_first, found)

    def __or__(self, other: Slopes) -> Slopes | None:
        """The units of both passes; None where they are laid out in another way."""
        if other._table is not self._table or self._others or other._others:
            return None
        return Slopes(self._table, self.readings, self._alive | other._alive, {})

    def __getitem__(self, site: str) -> Tensor:
        found = self.measured(self._table.names[site])
        if found is None:
            raise KeyError(site)
        return found.alive

    def __iter__(self) -> Iterator[str]:
        return (name for name, i in self._table.names.items() if self.measured(i) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, Tensor]]]:
        return dict, (dict(self),)


def united(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Per activation of two passes the units that have a slope in either; of other shapes, those of the later pass."""
    if not isinstance(one, Slopes) and not one:
        return other
    if isinstance(one, Slopes) and isinstance(other, Slopes) and (both := one | other) is not None:
        return both
    found = dict(one)
    for site, alive in other.items():
        before = found.get(site, alive)
        found[site] = before | alive if before.shape == alive.shape else alive
    return found
