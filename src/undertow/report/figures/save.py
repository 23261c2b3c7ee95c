"""Writing a figure to a file, in the format that its suffix names."""

from __future__ import annotations

from pathlib import Path

from undertow.foundation import InputError
from undertow.foundation.outputs import writable
from undertow.report.figures.style import Picture, styled

_RASTER = (".png", ".pdf")
_DPI = 200
"""Twice the pixels of an ordinary screen, so that a PNG stays sharp in a slide."""


def save(svg: str, path: str | Path) -> Path:
    """Write a figure as .svg, or, where matplotlib drew it, as .png or .pdf.

    Raises
    ------
    InputError
        If the suffix is none of these, or the figure is a diagram, which is SVG only.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    suffix, figure = path.suffix.lower(), getattr(svg, "figure", None)
    if suffix not in (".svg", *_RASTER) or (suffix in _RASTER and figure is None):
        kinds = ".svg, .png or .pdf" if figure is not None else ".svg (this diagram has no other format)"
        raise InputError(f"the file name {path.name!r}", f"a name that ends in {kinds}", str(path.with_suffix(".svg")))
    writable(path)
    if suffix == ".svg":
        path.write_text(svg, encoding="utf-8")
    elif isinstance(svg, Picture) and svg.figure is not None:
        with styled():
            svg.figure.savefig(path, dpi=_DPI, metadata={"CreationDate": None} if suffix == ".pdf" else None)
    return path
