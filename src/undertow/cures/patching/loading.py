"""A user's file run from a text in memory, as a module of its own."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any


@contextmanager
def loaded(text: str, path: Path, names: Mapping[str, Any] | None = None) -> Iterator[ModuleType]:
    """The module that the text makes; inside the block it stands in `sys.modules` in place of the file's own.

    What it prints as it is run was printed when the file was run itself, and is not shown again.  What it raises is
    the text's.
    """
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    vars(module).update(names or {})
    folder = str(path.resolve().parent)
    before = sys.modules.get(module.__name__)
    sys.path.insert(0, folder)
    sys.modules[module.__name__] = module  # classes of the file must find their module, as pickle and dataclasses do
    try:
        with redirect_stdout(io.StringIO()):
            exec(compile(text, str(path), "exec"), vars(module))
        yield module
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        if before is None:
            sys.modules.pop(module.__name__, None)
        else:
            sys.modules[module.__name__] = before
