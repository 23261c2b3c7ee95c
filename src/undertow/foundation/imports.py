"""To be told when a module has been imported, without importing it: a user's script decides when torch is loaded."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, call: Callable[[], None]) -> Callable[[], None]:
    """Calls once when the module `name` has been imported, at once where it has been; returns what cancels it.

    `call` runs inside the user's import statement and must not raise.
    """
    if name in sys.modules:
        call()
        return lambda: None
    finder = _Finder(name, call)
    sys.meta_path.insert(0, finder)
    return finder.leave


class _Finder:
    """Stands first among the finders until its module is asked for; the others find it."""

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self.name, self.call = name, call

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        self.leave()
        spec = importlib.util.find_spec(name)
        loader: Any = spec and spec.loader
        if loader is not None:
            loader.exec_module = self._telling(loader)  # of this spec's own loader, which serves one module
        return spec

    def _telling(self, loader: Any) -> Callable[[ModuleType], None]:
        run = loader.exec_module  # its own, or that of another who waits for the same module

        def exec_module(module: ModuleType) -> None:
            loader.__dict__.pop("exec_module", None)
            run(module)
            self.call()

        return exec_module
