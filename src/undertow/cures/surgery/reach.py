"""The functions that a method reaches by name, rebuilt where one of them is changed."""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Callable
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any, Generic, TypeVar

from torch import nn

Found = TypeVar("Found")
OTHERS = ("torch", "undertow", "numpy", "builtins")
"""Packages whose functions are not the user's."""
INSTALLED = ("site-packages", "dist-packages", "<frozen")
LIBRARY = sysconfig.get_path("stdlib")


class Reach(Generic[Found]):
    """Rewrites functions, and those that call a rewritten one by a global name or an enclosing variable.

    `rewrite(function)` gives the function changed, or itself, and what it has found in it; `reached` collects these.
    """

    def __init__(self, rewrite: Callable[[FunctionType], tuple[FunctionType, list[Found]]]) -> None:
        self._rewrite = rewrite
        self.reached: set[Found] = set()
        self._done: dict[FunctionType, FunctionType] = {}
        self._concerned: dict[FunctionType, bool] = {}

    def changed(self, function: FunctionType) -> FunctionType:
        """The function as it is with the rewriting; itself where nothing that it reaches is concerned."""
        if function in self._done:
            return self._done[function]
        self._done[function] = function  # a function that reaches itself
        new, found = self._rewrite(function)
        self.reached |= set(found)
        inside = {name: self.changed(f) for name, f in _enclosed(function).items()}
        outside = {name: self.changed(f) for name, f in _global(function).items()}
        cells = dict(zip(new.__code__.co_freevars, new.__closure__ or (), strict=True))
        for name, other in inside.items():
            if name in cells and other is not cells[name].cell_contents:
                cells[name] = CellType(other)
        others = {name: f for name, f in outside.items() if f is not function.__globals__[name]}
        closure = tuple(cells[name] for name in new.__code__.co_freevars)
        if others or closure != (new.__closure__ or ()):
            space = Overlay(function.__globals__, others) if others else function.__globals__
            new = like(new, new.__code__, closure, space)
        self._done[function] = new
        return new


class Overlay(dict[str, Any]):
    """A module's names with a few others in their place; what the module gains later is seen too."""

    def __init__(self, under: dict[str, Any], others: dict[str, Any]) -> None:
        super().__init__(others)
        self._under = under

    def __missing__(self, name: str) -> Any:
        return self._under[name]


def like(
    function: FunctionType, code: CodeType, closure: tuple[Any, ...], namespace: dict[str, Any] | None = None
) -> FunctionType:
    """A function of this code with everything else of the given one."""
    space = function.__globals__ if namespace is None else namespace
    new = FunctionType(code, space, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__, new.__qualname__ = function.__kwdefaults__, function.__qualname__
    new.__module__ = function.__module__
    new.__dict__.update(function.__dict__)
    return new


def methods(kind: type[nn.Module]) -> dict[str, FunctionType]:
    """The methods that the user wrote in the body of this class, by name; decorated ones as the decorator left them."""
    found = {name: value for name, value in vars(kind).items() if isinstance(value, FunctionType)}
    return {name: method for name, method in found.items() if is_users(_written(method))}


def _written(method: FunctionType) -> FunctionType:
    inner = inspect.unwrap(method)
    return inner if isinstance(inner, FunctionType) else method


def is_users(holder: FunctionType | FrameType) -> bool:
    """Whether a function, or a call of one, is of the user's own files, not of an installed package."""
    space, code = (
        (holder.__globals__, holder.__code__) if isinstance(holder, FunctionType) else (holder.f_globals, holder.f_code)
    )
    installed = any(part in code.co_filename for part in INSTALLED) or code.co_filename.startswith(LIBRARY)
    return not installed and space.get("__name__", "").partition(".")[0] not in OTHERS


def _enclosed(function: FunctionType) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # a cell that nothing has filled yet
            continue
        if isinstance(value, FunctionType) and is_users(value):
            found[name] = value
    return found


def _global(function: FunctionType) -> dict[str, FunctionType]:
    named = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    return {name: f for name, f in named.items() if isinstance(f, FunctionType) and is_users(f)}
