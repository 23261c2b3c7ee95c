"""Where the stops of an account lie in the autograd graph, so that they are found again in that of a later pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch.autograd.graph import Node

from undertow.probe.tracing.account import Account, earlier_first, edges_of
from undertow.probe.tracing.entries import Stop
from undertow.record import Site

MOST_PLACES = 20
"""A graph with more nodes a stop on the ways between them (a recurrent layer's) is not worth finding again.  Ours."""

Part = tuple[int, int]
"""A stop by its number, operations first, and one of its tensors."""


class PlannedStop(NamedTuple):
    site: Site | None
    parts: int
    before: tuple[int, ...]
    depth: int


class Way(NamedTuple):
    """`next_functions[at]` of one place leads to another; `output` is said where that is a stop's tensor."""

    at: int
    place: int
    output: int | None


Ways = tuple[tuple[int, tuple[Way, ...]], ...]
"""By the place from which they lead."""


class Link(NamedTuple):
    """`later` hands a gradient to `earlier`: what leaves the node at `place` for its `next_functions[at]`."""

    earlier: Part
    later: int
    place: int
    at: int


class Graph(NamedTuple):
    """A place is a node: an operation's own, or one to which ways lead from there."""

    stops: tuple[PlannedStop, ...]
    parts: dict[Part, tuple[int, int]]
    """Of each part the place, and the output of the node there."""
    kinds: tuple[type, ...]
    ways: Ways
    links: tuple[Link, ...]
    in_order: bool
    """Each operation has one tensor and a node of its own: their places are their numbers."""

    def located(self, nodes: Sequence[Node | Sequence[Node]], ways: Ways) -> list[Node] | None:
        """The nodes of another pass by place, from those of its operations; None where its graph is another.

        `ways` are those that have to be looked at to know it.
        """
        found = self._own(nodes)
        if found is None:
            return None
        for place, leading in ways:
            if found[place] is None:
                return None
            following = found[place].next_functions
            for index, next_place, output in leading:
                if index >= len(following):
                    return None
                node, number = following[index]
                if found[next_place] is None and type(node) is self.kinds[next_place]:
                    found[next_place] = node
                elif found[next_place] is not node:
                    return None
                if output is not None and output != number:
                    return None
        return None if None in found else found

    def _own(self, nodes: Sequence[Node | Sequence[Node]]) -> list[Any] | None:
        """Those of the operations at their places."""
        kinds, parts = self.kinds, self.parts
        found: list[Any] = [None] * len(kinds)
        if self.in_order and tuple(map(type, nodes)) == kinds[: len(nodes)]:
            found[: len(nodes)] = nodes
            return found
        for stop, own in enumerate(nodes):
            for part, node in enumerate(own if type(own) is tuple else (own,)):
                place = parts[stop, part][0]
                if found[place] is None and type(node) is kinds[place]:
                    found[place] = node
                elif found[place] is not node:
                    return None
        return found


def survey(account: Account) -> Graph | None:
    """The graph of an account; None where the ways in it are too long."""
    surveyor = _Surveyor(account)
    return surveyor.graph() if len(surveyor.places) <= MOST_PLACES * len(surveyor.stops) else None


def whole_of(account: Account) -> frozenset[tuple[Part, int]]:
    """The gradients, by part and later stop, that were all that their part received."""
    surveyor = _Surveyor(account)
    return frozenset((surveyor.part(edge), surveyor.number[later]) for edge, later in account.whole)


class _Surveyor:
    def __init__(self, account: Account) -> None:
        self.at = account.stops
        self.stops = list(dict.fromkeys([*account.order, *account.stops.values()]))
        self.number = {stop: i for i, stop in enumerate(self.stops)}
        self.places: dict[Node, int] = {}
        self.ways: dict[int, list[Way]] = {}
        self.links: list[Link] = []
        for stop in account.order:
            for edge in stop.edges:
                self._place(edge.node)
        for stop in reversed(earlier_first(account.order)):  # a junction is found from the stops that read it
            self._follow(stop)

    def graph(self) -> Graph:
        return Graph(
            tuple(
                PlannedStop(
                    stop.operation and stop.operation.site,
                    len(stop.edges),
                    tuple(self.number[b] for b in stop.before),
                    stop.depth,
                )
                for stop in self.stops
            ),
            {
                (self.number[stop], part): (self.places[edge.node], edge.output)
                for stop in self.stops
                for part, edge in enumerate(stop.edges)
                if edge.node in self.places
            },
            tuple(map(type, self.places)),
            tuple((place, tuple(ways)) for place, ways in self.ways.items()),
            tuple(self.links),
            all(self._is_in_order(i, stop) for i, stop in enumerate(self.stops) if stop.operation is not None),
        )

    def _is_in_order(self, number: int, stop: Stop) -> bool:
        return len(stop.edges) == 1 and self.places[stop.edges[0].node] == number

    def part(self, edge: Any) -> Part:
        stop = self.at[edge]
        return self.number[stop], stop.edges.index(edge)

    def _place(self, node: Node) -> int:
        return self.places.setdefault(node, len(self.places))

    def _follow(self, stop: Stop) -> None:
        """The ways from one stop to those before it; what leads nowhere (to a weight) is left out."""
        came: dict[Node, tuple[Node, int] | None] = dict.fromkeys(e.node for e in stop.edges)
        ends: list[tuple[Node, int, Any]] = []
        todo = list(came)
        for node in todo:
            for index, edge in enumerate(edges_of(node)):
                if edge in self.at:
                    if self.at[edge] is not stop:
                        ends.append((node, index, edge))
                elif edge.node is not None and edge.node not in came:
                    came[edge.node] = node, index
                    todo.append(edge.node)
        needed: set[Node] = set()
        for node, _, _ in ends:
            while node not in needed:
                needed.add(node)
                before = came[node]
                if before is not None:
                    node = before[0]
        for node in todo:  # from the stop on
            before = came[node]
            if node in needed and before is not None:
                self._way(before[0], Way(before[1], self._place(node), None))
        for node, index, edge in ends:
            self._way(node, Way(index, self._place(edge.node), edge.output))
            self.links.append(Link(self.part(edge), self.number[stop], self._place(node), index))

    def _way(self, node: Node, way: Way) -> None:
        self.ways.setdefault(self._place(node), []).append(way)
