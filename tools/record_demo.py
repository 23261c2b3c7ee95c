"""Record the demo's first half, from the failing network to its cure, as the README's picture.

Run `python tools/record_demo.py` (docs/demo.svg) and `python tools/record_demo.py ko` (docs/demo.ko.svg).
"""

import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from undertow.demo import run
from undertow.foundation import language, say

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 100


def recorded(lang: str) -> list[Text]:
    """The lines that `undertow demo` prints, with their styles."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        run(lang, Path(folder) / "undertow-demo.html", console)
    return [*Text.from_ansi(console.export_text(styles=True)).split("\n")]


def main(lang: str = "en") -> None:
    lines = recorded(lang)
    with language(lang):
        second = say("demo.exploding.heading")
    half = next(i for i, line in enumerate(lines) if second in line.plain)
    picture = Console(file=io.StringIO(), record=True, width=WIDTH)
    picture.print(Text("\n").join(lines[:half]))
    name = "demo.svg" if lang == "en" else f"demo.{lang}.svg"
    picture.save_svg(str(DOCS / name), title="undertow demo")


if __name__ == "__main__":
    main(*sys.argv[1:2])
