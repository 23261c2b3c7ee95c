"""The look that all plotted figures share, and the way from a matplotlib figure to SVG text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from undertow.report.figures import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design": told apart with every common colour blindness.  The yellow is left
# out and the sky blue comes late, because both are faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5195", "#56B4E9", "#8C6D1F", "#333333")
INK, MUTED, GRID = "#1b2733", "#5b6875", "#e3e8ed"
# The same hues, darkened until they reach a contrast of 4.5 on white, as text needs (WCAG 2.1, 1.4.3).
FORWARD, BACKWARD, LOCAL = "#00619a", "#b34700", "#6a3d9a"

# matplotlib's own font goes first, so that a figure is the same on every machine; the others only fill in Hangul.
_HANGUL = ("Pretendard", "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic")


def _settings() -> dict[str, object]:
    from matplotlib import font_manager

    known = {f.name for f in font_manager.fontManager.ttflist}
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "undertow",
        "font.family": ["DejaVu Sans", *(f for f in _HANGUL if f in known)],
        "font.size": 10,
        "axes.unicode_minus": True,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
    }


@contextmanager
def styled() -> Iterator[None]:
    """Inside the block, matplotlib draws in the house style; the user's own settings come back after it."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # text stays text in an SVG, and the reader's machine has the glyph that this one may lack
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        matplotlib.rcParams.update(_settings())  # type: ignore[arg-type]
        yield


def canvas(columns: int = 1, width: float = 7.2, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, and its axes from left to right; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


class Picture(str):
    """SVG text that remembers the matplotlib figure it was written from, so that it can be saved as PNG or PDF."""

    figure: Figure | None = None


def picture(figure: Figure, title: str, description: str) -> Picture:
    """The figure as SVG text: selectable, described, the same bytes each time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    tree = svg.parse(buffer.getvalue())
    for child in list(tree):
        if child.tag.endswith("metadata"):
            tree.remove(child)
    for parent in tree.iter(f"{{{svg.SVG}}}defs"):
        for style in parent.findall(f"{{{svg.SVG}}}style"):
            parent.remove(style)  # it styles every element of the page that the picture stands in
    tree.attrib.update({"stroke-linejoin": "round", "stroke-linecap": "butt"})
    svg.describe(tree, title, description)
    text = re.sub(r"'DejaVu Sans'(, '[^']*')*(, sans-serif)?", svg.FONTS, svg.text_of(tree))
    found = Picture(text)
    found.figure = figure
    return found
