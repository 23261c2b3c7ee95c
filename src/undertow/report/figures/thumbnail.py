"""f, f′ and f″ of an activation in one small picture, for its page and the gallery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from undertow.activations import Activation
from undertow.activations.line.grid import beside
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.report.figures import svg
from undertow.report.figures.curves import Curve, lines_of

WIDTH, HEIGHT, LEFT, BOTTOM = 320.0, 200.0, 26.0, 16.0
REACH = 5.0
"""The picture shows |x| up to this."""
WINDOW = (-2.0, 3.0)
"""The values shown at most."""
STEPS = 400
TOLERANCE = 0.1
"""Points that lie within so many pixels of the line between their neighbours are left out."""
# Mid tones, which hold a contrast of 3 on white and on GitHub's dark ground (WCAG 2.1, 1.4.11), told apart with every
# common colour blindness: the blue, vermilion and green of Okabe and Ito, evened out.
COLOURS = ("#2f81d6", "#d9662b", "#1f9d6c")
INK, GRID = "#7a838d", "#7a838d"

Point = tuple[float, float]


def thumbnail(act: Activation) -> str:
    """SVG text of a few kB on no ground, so that it stands on a light page and on a dark one."""
    lines = lines_of(act)
    rungs = [(line, order) for line in lines for order in range(3)] if len(lines) == 1 else [(u, 0) for u in lines]
    pieces = [_pieces(line, order) for line, order in rungs]
    low, high = _window([y for piece in pieces for part in piece for _, y in part])
    picture = svg.root(WIDTH, HEIGHT, act.name, say("figures.thumbnail.description", name=act.name), ground=False)
    _frame(picture, low, high)
    frame = svg.add(picture, "clipPath", id="frame")
    svg.add(frame, "rect", x=LEFT, y=0, width=WIDTH - LEFT, height=_floor())
    inside = svg.add(picture, "g", clip_path="url(#frame)", fill="none", stroke_width="1.8")
    for i, parts in reversed(list(enumerate(pieces))):
        d = " ".join(_path([(_across(x), _down(y, low, high)) for x, y in part]) for part in parts)
        svg.add(inside, "path", d=d, stroke=COLOURS[i % len(COLOURS)])
    names = ["f", "f′", "f″"] if len(lines) == 1 else [line.name.removeprefix(act.name).strip() for line in lines]
    for i, name in enumerate(names):
        svg.add(picture, "text", name, x=LEFT + 8, y=14.0 + 13 * i, fill=COLOURS[i % len(COLOURS)])
    return svg.text_of(picture)


def _pieces(line: Curve, order: int) -> list[list[Point]]:
    """The values between neighbouring kinks, each piece up to its own side of them."""
    h = (line.f, line.df, line.d2f)[order]
    inside = sorted(k for k in line.kinks if -REACH < k < REACH)
    found = []
    for a, b in pairwise([-REACH, *inside, REACH]):
        n = max(2, round(STEPS * (b - a) / (2 * REACH)) + 1)
        x = torch.linspace(beside(a, 1), beside(b, -1), n, dtype=torch.float64)
        found.append([(p, q) for p, q in zip(x.tolist(), h(x).detach().tolist(), strict=True) if math.isfinite(q)])
    return [part for part in found if part]


def _window(values: Sequence[float]) -> tuple[float, float]:
    low, high = max(min(values), WINDOW[0]), min(max(values), WINDOW[1])
    margin = 0.06 * (high - low)
    return min(low, 0.0) - margin, max(high, 1.0) + margin


def _across(x: float) -> float:
    return LEFT + (x + REACH) / (2 * REACH) * (WIDTH - LEFT)


def _floor() -> float:
    return HEIGHT - BOTTOM


def _down(y: float, low: float, high: float) -> float:
    far = 10 * (high - low)
    return _floor() * (high - min(max(y, low - far), high + far)) / (high - low)


def _frame(picture: Any, low: float, high: float) -> None:
    lines = svg.add(picture, "g", stroke=GRID, stroke_width="0.8")
    words = svg.add(picture, "g", fill=INK, font_size="10")
    for x in (-4, -2, 0, 2, 4):
        svg.add(lines, "path", d=f"M{_across(x):.1f} 0V{_floor():.1f}", stroke_opacity="0.7" if x == 0 else "0.2")
        svg.add(words, "text", written(x), x=_across(x), y=HEIGHT - 4, text_anchor="middle")
    for y in range(math.ceil(low), math.floor(high) + 1):
        level = _down(y, low, high)
        svg.add(lines, "path", d=f"M{LEFT:.1f} {level:.1f}H{WIDTH:.1f}", stroke_opacity="0.7" if y == 0 else "0.2")
        svg.add(words, "text", written(y), x=LEFT - 5, y=level + 3.5, text_anchor="end")


def _path(points: Sequence[Point]) -> str:
    kept = _simplified(points)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in kept)


def _simplified(points: Sequence[Point]) -> list[Point]:
    """Ramer, Douglas and Peucker: the point furthest from the chord is kept where it is too far to be left out."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    away = [abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length for x, y in points]
    furthest = max(range(len(points)), key=away.__getitem__)
    if away[furthest] <= TOLERANCE or furthest in (0, len(points) - 1):
        return [points[0], points[-1]] if len(points) > 1 else list(points)
    return [*_simplified(points[: furthest + 1])[:-1], *_simplified(points[furthest:])]
