"""A user's program, run in this process as `python` would: `train.py --its --own args` or `-m package.module`."""

from __future__ import annotations

import builtins
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

from undertow.cli.main import FINE, INTERRUPTED
from undertow.foundation import InputError

EXAMPLE = "undertow run train.py"
RAISED = 1
"""Python's own exit status after an uncaught exception."""
HOME = os.path.dirname(os.path.dirname(__file__))
MEASURING = (os.path.join(HOME, "probe", ""), os.path.join(HOME, "foundation", "calls.py"))
"""Frames of a measured step lie between the user's; a traceback is shown without them."""


@dataclass(frozen=True)
class Program:
    """What follows `undertow run`: a script (a file, or a folder or zip file with `__main__.py`) or a module.

    Raises
    ------
    InputError
        From `prepare()`: there is no such script or module.
    """

    target: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def name(self) -> str:
        return self.target if self.is_module else os.path.basename(os.path.normpath(self.target))

    def prepare(self) -> Prepared:
        """The program's code and its `__main__`, with sys.argv and sys.path as the program expects them."""
        return self._module() if self.is_module else self._script()

    def _script(self) -> Prepared:
        if not os.path.exists(self.target):
            raise InputError(f"the script {self.target!r}, which is not there", "a Python file", EXAMPLE)
        importer = pkgutil.get_importer(os.path.abspath(self.target))  # of a folder or a zip file; a file has none
        if importer is not None:
            spec = importer.find_spec("__main__")
            if spec is None:
                raise InputError(f"{self.target!r} without a __main__.py", "a Python file", EXAMPLE)
            self._set_paths(os.path.abspath(self.target), self.target)
            return Prepared(partial(_code_of, spec), _main(spec.origin, spec))
        path = os.path.abspath(self.target)
        self._set_paths(os.path.dirname(os.path.realpath(self.target)), self.target)
        with open(path, "rb") as file:
            source = file.read()
        return Prepared(partial(compile, source, path, "exec", dont_inherit=True), _main(path, None))

    def _module(self) -> Prepared:
        self._set_paths(os.getcwd(), "-m")
        try:
            spec = _find(self.target)
        except Exception as error:  # of the packages above it, which finding it imports
            spec, why = None, f"whose package fails to import ({type(error).__name__}: {error})"
        else:
            why = "which is not there or cannot be run"
        if spec is None or spec.origin is None:
            raise InputError(
                f"the module {self.target!r}, {why}", "one that `python -m` runs", "undertow run -m package.module"
            )
        sys.argv[0] = spec.origin
        return Prepared(partial(_code_of, spec), _main(spec.origin, spec))

    def _set_paths(self, first: str, name: str) -> None:
        sys.argv[:] = [name, *self.arguments]
        if not sys.flags.safe_path:
            sys.path[0] = first


@dataclass(frozen=True)
class Prepared:
    load: Callable[[], CodeType]
    """Compiles it: a SyntaxError is the user's."""
    main: ModuleType

    def run(self, ending: tuple[type[BaseException], ...] = ()) -> int:
        """Runs it as `__main__`; the exit status that Python would have, after the traceback that it would print.

        The exceptions `ending` end it as its last line does.
        """
        sys.modules["__main__"] = self.main
        code = None
        try:
            code = self.load()
            exec(code, self.main.__dict__)
        except SystemExit as stop:
            return _status(stop)
        except ending:
            return FINE
        except BaseException as error:
            _clean(error, code)
            sys.excepthook(type(error), error, error.__traceback__)
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else RAISED
        return FINE


def _main(path: str | None, spec: ModuleSpec | None) -> ModuleType:
    main = ModuleType("__main__")
    loader = spec.loader if spec else SourceFileLoader("__main__", str(path))
    package = spec.parent if spec else None
    main.__dict__.update(  # without a spec, as of a script, worker processes find it by its path
        __file__=path, __builtins__=builtins, __loader__=loader, __package__=package, __spec__=spec, __cached__=None
    )
    return main


def _code_of(spec: ModuleSpec) -> CodeType:
    loader: Any = spec.loader
    return loader.get_code(spec.name)


def _find(name: str) -> ModuleSpec | None:
    """The module, or the `__main__` of a package; importing the packages above it is how it is found."""
    above = name.rpartition(".")[0]
    spec = importlib.util.find_spec(name) if not above or _find_package(above) else None
    return _find(f"{name}.__main__") if spec is not None and spec.submodule_search_locations is not None else spec


def _find_package(name: str) -> bool:
    above = name.rpartition(".")[0]
    return (not above or _find_package(above)) and importlib.util.find_spec(name) is not None


def _status(stop: SystemExit) -> int:
    if stop.code is None:
        return FINE
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)
    return RAISED


def _clean(error: BaseException, code: CodeType | None) -> None:
    """Takes our frames out of the traceback of an error and of those that it came from."""
    todo, seen = [error], set[int]()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        found.__traceback__ = _rebuilt(list(_users(found.__traceback__, code)))
        todo += [e for e in (found.__cause__, found.__context__) if e is not None]


def _users(traceback: TracebackType | None, code: CodeType | None) -> Iterator[TracebackType]:
    """Without what lies above the program, and without a measured call's way through us."""
    entries: list[TracebackType] = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    start = next((i for i, e in enumerate(entries) if e.tb_frame.f_code is code), None)
    if start is None and code is None:
        start = len(entries)  # a SyntaxError of the program itself
    kept: list[TracebackType] = []
    detour = False
    for entry in entries[start or 0 :]:
        if entry.tb_frame.f_code.co_filename.startswith(MEASURING):
            detour = True
            continue
        if detour:  # torch gave the call to us and we gave it back: it stands there twice
            while kept and kept[-1].tb_frame.f_code.co_filename.endswith(os.path.join("torch", "overrides.py")):
                kept.pop()
            if kept and kept[-1].tb_frame.f_code is entry.tb_frame.f_code:
                kept.pop()
            detour = False
        kept.append(entry)
    yield from kept


def _rebuilt(entries: list[TracebackType]) -> TracebackType | None:
    following: TracebackType | None = None
    for entry in reversed(entries):
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return following
