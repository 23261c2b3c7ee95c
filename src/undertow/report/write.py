"""Writing the report of a diagnosis to a file."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from undertow.cures import Verdicts
from undertow.diagnosis import Diagnosis
from undertow.foundation import InputError
from undertow.foundation.outputs import writable
from undertow.report.compose import diagnosis_document
from undertow.report.cures import verdicts_data, verdicts_document
from undertow.report.document import Document
from undertow.report.html import html
from undertow.report.markdown import markdown
from undertow.report.structured import as_json, structured
from undertow.report.terminal import print_document

WIDTH = 110
"""Characters of a line of plain text in a file."""


def text(document: Document) -> str:
    """What a terminal shows, without colours."""
    from rich.console import Console

    page = StringIO()
    print_document(document, Console(file=page, width=WIDTH, highlight=False))
    return page.getvalue()


RENDERERS: dict[str, Callable[[Document], str]] = {"html": html, "markdown": markdown, "text": text}
"""What draws a document; JSON is made from the diagnosis itself."""
FORMATS = (*RENDERERS, "json")
SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown", ".txt": "text", ".json": "json"}


def format_of(path: Path) -> str:
    """The format that a file's name asks for.  Raises InputError where it asks for none."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"the file name {path.name!r}",
            f"a name that ends in {', '.join(SUFFIXES)}",
            f"{path.stem or 'report'}.html",
        )
    return found


def report(diagnosis: Diagnosis | Verdicts | Document, path: str | Path) -> Path:
    """Write what a diagnosis or a search for a cure found as one file; as HTML it is self-contained, with the figures.

    Parameters
    ----------
    diagnosis:
        From `run.diagnose()` or `ut.examine(...)`; or verdicts from `ut.cure(...)`; or a document made of blocks.
    path:
        A name that ends in `.html`, `.md`, `.txt` or `.json`.

    Raises
    ------
    InputError
        If the name ends in anything else, or the first argument is none of these.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    kind = format_of(path)
    known = (Diagnosis, Verdicts) if kind == "json" else (Diagnosis, Verdicts, Document)
    if not isinstance(diagnosis, known):
        raise InputError(f"a {type(diagnosis).__name__}", "a Diagnosis", "ut.report(run.diagnose(), 'report.html')")
    writable(path)
    path.write_text(_content(diagnosis, kind), encoding="utf-8")
    return path


def _content(diagnosis: Any, kind: str) -> str:
    found = isinstance(diagnosis, Verdicts)
    if kind == "json":
        return as_json(verdicts_data(diagnosis) if found else structured(diagnosis))
    if isinstance(diagnosis, Document):
        return RENDERERS[kind](diagnosis)
    return RENDERERS[kind](verdicts_document(diagnosis) if found else diagnosis_document(diagnosis))
