"""The document as one HTML file: no script, nothing loaded from elsewhere, light and dark, made to be printed too."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from undertow.foundation import language, say
from undertow.foundation.numbers import written
from undertow.report.document import Document
from undertow.report.figures import svg
from undertow.report.numbers import position

if TYPE_CHECKING:
    from jinja2 import Template

_WIDE = 900.0
"""A figure wider than this, in CSS pixels, keeps its size and scrolls: shrunk to a page its numbers can't be read."""


def html(document: Document) -> str:
    """The whole page.  Every text is escaped; pictures go in as they are, with ids of their own."""
    from undertow import __version__  # type: ignore[attr-defined]  # the stub lists public names only

    with language(document.lang):
        numbers = iter(range(1, len(document.blocks) + 1))
        return _template().render(
            document=document,
            say=say,
            written=written,
            position=position,
            version=__version__,
            inlined=lambda text: _inlined(text, f"f{next(numbers)}-"),
            kind=lambda b: type(b).__name__,
        )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("undertow.report", "templates")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return found.get_template("report.html.j2")


def _inlined(text: str, prefix: str) -> str:
    """An SVG ready to stand in the page, marked as trusted."""
    from markupsafe import Markup

    picture = svg.parse(svg.isolated(text, prefix))
    width = float(picture.get("viewBox", "0 0 700 400").split()[2])
    picture.set("class", "wide" if width > _WIDE else "fits")
    return Markup(svg.text_of(picture))
