"""Drawing a computation from left to right: an operation in each box, forward value above, backward value below."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from undertow.foundation import say
from undertow.report.figures import svg
from undertow.report.figures.layout import Layout, layered
from undertow.report.figures.style import BACKWARD, FORWARD, INK, LOCAL, MUTED
from undertow.report.numbers import exact

CHARACTER = 6.9
"""Width of one character at 11 px, a little more than that of the widest digits in use, so that nothing touches."""
BOX_HEIGHT, ROW, PILL_HEIGHT = 32.0, 92.0, 17.0
LEFT, TOP, BOTTOM = 60.0, 106.0, 50.0
_LATIN_WIDTH, _HANGUL_WIDTH = 7.6, 11.5
"""Widths of a letter at 12 px bold, measured in Chromium with DejaVu Sans and Noto Sans CJK."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Card:
    """A box of the diagram."""

    key: Hashable
    text: str
    forward: float
    backward: float | None
    kind: str = "operation"
    """`input`, `operation` or `loss`."""
    hint: str = ""
    """What a tooltip says before the numbers."""


@dataclass(frozen=True)
class Wire:
    """An edge, with the factor that the backward value is multiplied with on its way back over it."""

    source: Hashable
    target: Hashable
    local: float | None
    note: str = ""
    """A second, small line under the factor."""


@dataclass(frozen=True)
class Diagram:
    title: str
    description: str
    cards: tuple[Card, ...]
    """In topological order."""
    wires: tuple[Wire, ...]
    local_name: str
    """What the number on a wire is."""
    footer: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle that text or a box covers."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box, gap: float = 2.0) -> bool:
        return (
            abs(self.x - other.x) * 2 < self.width + other.width + 2 * gap
            and abs(self.y - other.y) * 2 < self.height + other.height + 2 * gap
        )


def draw(diagram: Diagram) -> str:
    """The diagram as SVG; every text is a text element, every number carries its full precision in `data-value`."""
    drawings = ((d, d.picture()) for d in (_Drawing(diagram, stretch) for stretch in _STRETCHES))
    found: list[svg.Element] = []
    for drawing, picture in drawings:
        found.append(picture)
        if not drawing.crowded:
            break
    return svg.text_of(found[-1])


_STRETCHES = (1.0, 1.25, 1.6, 2.0, 2.6)
"""How much wider the gaps may become until no two texts touch."""


class _Drawing:
    def __init__(self, diagram: Diagram, stretch: float) -> None:
        self.diagram = diagram
        self.cards = {c.key: c for c in diagram.cards}
        reads: dict[Hashable, list[Hashable]] = {c.key: [] for c in diagram.cards}
        for wire in diagram.wires:
            reads[wire.target].append(wire.source)
        self.layout: Layout = layered(reads)
        self.box_width = {c.key: max(34.0, CHARACTER * 1.12 * len(c.text) + 16) for c in diagram.cards}
        self.columns = self._columns(stretch)
        self.taken: list[Box] = []
        self.paths: dict[Wire, list[Point]] = {w: self._path(w) for w in diagram.wires}
        self.crowded = False

    def _columns(self, stretch: float) -> list[float]:
        """The middle of each column: wide enough for the boxes, the values and the factors before it."""
        found = [LEFT]
        for column in range(1, max(self.layout.column.values()) + 1):
            beside = [c for c in self.diagram.cards if self.layout.column[c.key] in (column - 1, column)]
            pills = [self._pill_width(w) for w in self.diagram.wires if self.layout.column[w.target] == column]
            boxes = max((self.box_width[c.key] for c in beside), default=0.0)
            digits = max((len(exact(v)) for c in beside for v in (c.forward, c.backward or 0.0)), default=0)
            gap = stretch * (max(pills, default=0.0) + 26)
            found.append(found[-1] + max(boxes + gap, CHARACTER * digits + 34))
        return found

    @staticmethod
    def _pill_width(wire: Wire) -> float:
        number = len(exact(wire.local)) if wire.local is not None else 0
        return CHARACTER * max(number, 0.9 * len(wire.note)) + 12

    def x(self, column: int) -> float:
        return self.columns[column]

    def y(self, row: float) -> float:
        return TOP + row * ROW

    def at(self, key: Hashable) -> tuple[float, float]:
        return self.x(self.layout.column[key]), self.y(self.layout.row[key])

    def picture(self) -> svg.Element:
        rows = max(*self.layout.row.values(), *(r for b in self.layout.bends.values() for _, r in b), 0.0)
        width = max(self.x(max(self.layout.column.values())) + LEFT, 560.0)
        height = self.y(rows) + BOTTOM + (22 if self.diagram.footer else 0)
        picture = svg.root(width, height, self.diagram.title, self.diagram.description)
        svg.add(picture, "text", self.diagram.title, x=16, y=26, font_size=15, font_weight=600, fill=INK)
        self._legend(picture)
        wires = svg.add(picture, "g", fill="none")
        self.taken = [b for c in self.diagram.cards for b in self._covered(c)]
        for wire in self.diagram.wires:
            self._wire(wires, picture, wire)
        for card in self.diagram.cards:
            self._card(picture, card)
        if self.diagram.footer:
            svg.add(picture, "text", self.diagram.footer, x=16, y=height - 12, font_size=12, fill=INK)
        return picture

    def _legend(self, picture: svg.Element) -> None:
        x = 16.0
        for name, colour, mark in (
            (say("figures.forward_value"), FORWARD, "→"),
            (say("figures.backward_value"), BACKWARD, "←"),
            (self.diagram.local_name, LOCAL, "×"),
        ):
            svg.add(picture, "text", f"{mark} {name}", x=x, y=48, fill=colour, font_size=12, font_weight=600)
            x += 38 + sum(_HANGUL_WIDTH if "가" <= c <= "힣" else _LATIN_WIDTH for c in name)

    def _covered(self, card: Card) -> Iterator[Box]:
        x, y = self.at(card.key)
        yield Box(x, y, self.box_width[card.key], BOX_HEIGHT)
        yield Box(x, y - BOX_HEIGHT / 2 - 10, CHARACTER * len(exact(card.forward)), 14)
        if card.backward is not None:
            yield Box(x, y + BOX_HEIGHT / 2 + 11, CHARACTER * len(exact(card.backward)), 14)

    def _card(self, picture: svg.Element, card: Card) -> None:
        x, y = self.at(card.key)
        width = self.box_width[card.key]
        fill, line = {"input": ("#ffffff", MUTED), "loss": ("#fdf1e7", BACKWARD)}.get(card.kind, ("#eef3f8", INK))
        group = svg.add(picture, "g", data_node=card.key)
        svg.add(group, "title", self._tooltip(card))
        svg.add(
            group,
            "rect",
            x=x - width / 2,
            y=y - BOX_HEIGHT / 2,
            width=width,
            height=BOX_HEIGHT,
            rx=BOX_HEIGHT / 2 if card.kind == "input" else 7,
            fill=fill,
            stroke=line,
            stroke_width=1.2,
        )
        svg.add(group, "text", card.text, x=x, y=y + 5, text_anchor="middle", font_size=13, font_weight=600, fill=INK)
        _number(group, x, y - BOX_HEIGHT / 2 - 6, card.forward, "forward", FORWARD)
        if card.backward is not None:
            _number(group, x, y + BOX_HEIGHT / 2 + 15, card.backward, "backward", BACKWARD)

    def _tooltip(self, card: Card) -> str:
        lines = [card.hint] if card.hint else []
        lines.append(f"{say('figures.forward_value')}: {card.forward!r}")
        if card.backward is not None:
            lines.append(f"{say('figures.backward_value')}: {card.backward!r}")
        return "\n".join(lines)

    def _wire(self, wires: svg.Element, picture: svg.Element, wire: Wire) -> None:
        points = self.paths[wire]
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (x0 + x1) / 2
            path += f" C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        x, y = points[-1]
        tip = f"M{x - 7:.1f} {y - 4:.1f} L{x:.1f} {y:.1f} L{x - 7:.1f} {y + 4:.1f} Z"
        svg.add(wires, "path", d=path, stroke="#8794a1", stroke_width=1.4)
        svg.add(wires, "path", d=tip, fill="#8794a1")
        if wire.local is not None:
            self._pill(picture, wire)

    def _path(self, wire: Wire) -> list[Point]:
        bends = self.layout.bends.get((wire.source, wire.target), [])
        return [self._port(wire.source, 1), *((self.x(c), self.y(r)) for c, r in bends), self._port(wire.target, -1)]

    def _port(self, key: Hashable, side: int) -> tuple[float, float]:
        x, y = self.at(key)
        return x + side * self.box_width[key] / 2, y

    def _pill(self, picture: svg.Element, wire: Wire) -> None:
        """The factor on its wire, where it covers nothing else and as few other wires as can be."""
        width, height = self._pill_width(wire), PILL_HEIGHT + (11 if wire.note else 0)
        start, end = self.paths[wire][-2:]
        places = [Box(*_along(start, end, t), width, height) for t in _PLACES]
        free = [b for b in places if not any(b.meets(o) for o in self.taken)]
        self.crowded |= not free
        box = min(free or places, key=lambda b: self._crossings(b, wire))
        self.taken.append(box)
        group = svg.add(picture, "g", data_source=wire.source, data_target=wire.target)
        svg.add(group, "title", f"{self.diagram.local_name}: {wire.local!r}")
        svg.add(
            group,
            "rect",
            x=box.x - width / 2,
            y=box.y - height / 2,
            width=width,
            height=height,
            rx=8.5,
            fill="#f4effa",
            stroke="#d9c9ec",
            stroke_width=1,
        )
        assert wire.local is not None
        _number(group, box.x, box.y + (-2 if wire.note else 4), wire.local, "local", LOCAL)
        if wire.note:
            svg.add(group, "text", wire.note, x=box.x, y=box.y + 10, text_anchor="middle", font_size=10, fill=MUTED)

    def _crossings(self, box: Box, wire: Wire) -> int:
        """Points of other wires under a box."""
        return sum(
            box.meets(Box(*_along(a, b, k / 24), 0, 0))
            for other, path in self.paths.items()
            if other is not wire
            for a, b in pairwise(path)
            if min(a[0], b[0]) < box.x + box.width and b[0] > box.x - box.width
            for k in range(25)
        )


_PLACES = tuple(0.5 + sign * step / 40 for step in range(19) for sign in (1, -1))
"""Shares of the way along a wire, the middle first."""


def _along(start: tuple[float, float], end: tuple[float, float], t: float) -> tuple[float, float]:
    """The point of the wire's cubic at t."""
    (x0, y0), (x1, y1), middle = start, end, (start[0] + end[0]) / 2
    a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    return a * x0 + (b + c) * middle + d * x1, (a + b) * y0 + (c + d) * y1


def _number(parent: svg.Element, x: float, y: float, value: float, role: str, colour: str) -> None:
    # a white rim, so that a wire which passes behind the number does not strike it through
    rim = {} if role == "local" else {"paint-order": "stroke", "stroke": "#ffffff", "stroke-width": 3}
    svg.add(
        parent,
        "text",
        exact(value),
        x=x,
        y=y,
        text_anchor="middle",
        font_size=11,
        fill=colour,
        font_family=svg.MONO,
        class_=role,
        data_value=repr(value),
        **rim,
    )
