"""The formats that there are: the files beside this one that can `render`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from undertow.report.ci.checked import Checked

FORMATS = ("github", "junit", "sarif")


def rendered(checked: Checked, kind: str) -> str:
    """The text in one of the `FORMATS`."""
    render: Callable[[Checked], str] = import_module(f"undertow.report.ci.{kind}").render
    return render(checked)
