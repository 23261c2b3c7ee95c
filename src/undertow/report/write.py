"""Writing the report of a diagnosis to a file."""

from __future__ import annotations

from pathlib import Path

from undertow.diagnosis import Diagnosis
from undertow.foundation import InputError
from undertow.foundation.outputs import writable
from undertow.report.compose import diagnosis_document
from undertow.report.document import Document
from undertow.report.html import html


def report(diagnosis: Diagnosis | Document, path: str | Path) -> Path:
    """Write what a diagnosis found, with its ledger and figures, as one self-contained HTML file.

    Parameters
    ----------
    diagnosis:
        From `run.diagnose()` or `ut.examine(...)`, or a document made of blocks.
    path:
        A name that ends in `.html`.

    Raises
    ------
    InputError
        If the name ends in anything else, or the first argument is no diagnosis.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"the file name {path.name!r}", "a name that ends in .html", f"{path.stem or 'report'}.html")
    if not isinstance(diagnosis, (Diagnosis, Document)):
        raise InputError(f"a {type(diagnosis).__name__}", "a Diagnosis", "ut.report(run.diagnose(), 'report.html')")
    writable(path)
    document = diagnosis if isinstance(diagnosis, Document) else diagnosis_document(diagnosis)
    path.write_text(html(document), encoding="utf-8")
    return path
