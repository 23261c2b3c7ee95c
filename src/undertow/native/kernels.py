"""The compiled module, where this installation has one, and why not where it has none."""

from __future__ import annotations

from importlib import import_module
from typing import Any

module: Any = None
_reason = ""

try:
    module = import_module("undertow.native._kernels")
except ImportError as error:  # built without a compiler, or for another Python: torch stands in
    _reason = str(error)


def available() -> bool:
    """Whether the compiled kernels are in use."""
    return module is not None


def why_not() -> str:
    """The text of the import error that keeps the kernels away; empty where they are in use."""
    return _reason
