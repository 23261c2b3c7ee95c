"""What torch.compile has given to this program and is still in use, found among all of its objects.

A program may hold a million objects, and a search through them takes as long as many steps; so a search is repeated
only where something was compiled since, or after a hundred times the time that it took.
"""

from __future__ import annotations

import gc
import sys
import time
import weakref
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from torch import nn

PATIENCE = 100
"""Searches take at most a hundredth of the time."""


@dataclass
class Living:
    """Compiled modules (what torch.compile(module) gave) and functions, as the last search found them."""

    _modules: list[weakref.ref[Any]] = field(default_factory=list)
    _functions: list[weakref.ref[Any]] = field(default_factory=list)
    _mark: Any = None
    _again: float = 0.0

    def wrapper_of(self, model: nn.Module) -> nn.Module | None:
        """What torch.compile(model) gave."""
        self._renew()
        return next((w for r in self._modules if (w := r()) is not None and w._orig_mod is model), None)

    def has_functions(self) -> bool:
        """Whether there is a compiled function, in which a model might be called."""
        self._renew()
        return any(r() is not None for r in self._functions)

    def forget(self) -> None:
        """Search anew the next time."""
        self._mark = None

    def _renew(self) -> None:
        mark = _compilations()
        if mark == self._mark and time.monotonic() < self._again:
            return
        began = time.monotonic()
        self._search()
        if self._functions:
            gc.collect()  # what is only garbage is not called again
        took = time.monotonic() - began
        self._mark, self._again = mark, time.monotonic() + PATIENCE * took

    def _search(self) -> None:
        kind = sys.modules["torch._dynamo.eval_frame"].OptimizedModule
        found = [o for o in gc.get_objects() if type(o) is FunctionType or type(o) is kind]
        self._modules = [weakref.ref(o) for o in found if type(o) is kind]
        functions = (o for o in found if type(o) is FunctionType)
        self._functions = [weakref.ref(o) for o in functions if "get_compiler_config" in o.__dict__]


LIVING = Living()


def _compilations() -> tuple[int, ...]:
    """Changes where code was compiled."""
    return tuple(sys.modules["torch._dynamo.utils"].counters["frames"].values())
