"""The modules that are being called, and how the operations inside them are named."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

from torch import nn

from undertow.foundation import Effect
from undertow.record.names import module_names, own_class
from undertow.record.site import Site


@dataclass(eq=False)
class Frame:
    """A module on the call stack; one that the model does not hold (made in a forward pass) has its caller's path."""

    path: str
    module: nn.Module
    call: int
    held: bool = True
    operations: int = 0

    @property
    def owns_its_operation(self) -> bool:
        """Whether the operation seen is what the module is for: nn.Linear and its like, not a user's own forward."""
        of_torch = own_class(self.module).__module__.startswith("torch.nn")
        leaf = all(name == "parametrizations" for name, _ in self.module.named_children())
        return self.held and of_torch and leaf


class Stack:
    """The modules of `model` that are under way in one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        names = module_names(model)
        self._model = model
        self._paths = {id(m): names[raw] for raw, m in model.named_modules()}
        self._frames: list[Frame] = []
        self._calls: Counter[str | int] = Counter()

    @property
    def top(self) -> Frame | None:
        return self._frames[-1] if self._frames else None

    @property
    def path(self) -> str:
        return self._frames[-1].path if self._frames else ""

    def enter(self, module: nn.Module) -> Frame:
        held = id(module) in self._paths
        path = self._paths[id(module)] if held else self.path
        frame = Frame(path, module, self._calls[id(module)], held)
        self._frames.append(frame)
        self._calls[id(module)] += held  # a wrapper has the name of what it wraps
        return frame

    def leave(self, module: nn.Module) -> Frame | None:
        """The frame that is over; None where the module's own call was not seen to begin."""
        if not self._frames or self._frames[-1].module is not module:
            return None
        return self._frames.pop()

    def site(self, operation: str, effect: Effect) -> Site:
        """The name of an operation's next call in the module under way."""
        frame = self._frames[-1] if self._frames else Frame("", self._model, 0)
        frame.operations += 1
        if frame.owns_its_operation and frame.operations == 1:
            return Site(frame.path, operation, frame.call, effect)
        return self.functional(operation, effect)

    def functional(self, operation: str, effect: Effect) -> Site:
        key = f"{self.path}:{operation}"
        self._calls[key] += 1
        return Site(self.path, operation, self._calls[key] - 1, effect, functional=True, source=user_line())


def user_line() -> str | None:
    """`file.py:12` of the innermost frame that belongs neither to torch nor to us."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torch", "undertow", "contextlib")):
            return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return None
