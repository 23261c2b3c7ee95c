"""Record the demo's first half, from the failing network to its cure, as the README's picture.

Run `python tools/record_demo.py` (docs/demo.svg) and `python tools/record_demo.py ko` (docs/demo.ko.svg).
"""

import html
import io
import re
import sys
import tempfile
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from undertow.demo import run
from undertow.foundation import language, say

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 100
CELL = 12.2
"""Width of a character cell in rich's SVG: 20 high, 0.61 as wide."""


def recorded(lang: str) -> list[Text]:
    """The lines that `undertow demo` prints, with their styles."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        run(lang, Path(folder) / "undertow-demo.html", console)
    return [*Text.from_ansi(console.export_text(styles=True)).split("\n")]


def repaired(svg: str) -> str:
    """Hangul as wide as its cells (rich counts characters there), and no font fetched from elsewhere."""

    def stretched(text: re.Match[str]) -> str:
        cells = cell_len(html.unescape(text["content"]))
        return re.sub(r'textLength="[^"]*"', f'textLength="{cells * CELL:g}"', text[0])

    svg = re.sub(r"<text [^>]*textLength[^>]*>(?P<content>[^<]*)</text>", stretched, svg)
    return re.sub(r",\s*url\([^)]*\) format\([^)]*\)", "", svg)


def main(lang: str = "en") -> None:
    lines = recorded(lang)
    with language(lang):
        second = say("demo.exploding.heading")
    half = next(i for i, line in enumerate(lines) if second in line.plain)
    picture = Console(file=io.StringIO(), record=True, width=WIDTH)
    picture.print(Text("\n").join(lines[:half]))
    name = "demo.svg" if lang == "en" else f"demo.{lang}.svg"
    svg = picture.export_svg(title="undertow demo")
    (DOCS / name).write_text(repaired(svg), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
