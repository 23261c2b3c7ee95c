"""A cure written into the user's file."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import libcst as cst

from undertow.cures.cure import Cure, failure
from undertow.cures.patching.comparison import Fingerprint
from undertow.cures.patching.draws import HOLDER, Draws
from undertow.cures.patching.imports import NameTakenError, import_changes
from undertow.cures.patching.inplace import in_place, optimizer_code
from undertow.cures.patching.insertion import NoPlaceError, inserted
from undertow.cures.patching.layout import fitted
from undertow.cures.patching.loading import loaded
from undertow.cures.patching.snippet import Statement, snippet
from undertow.cures.patching.text import Change, File, OverlapError
from undertow.cures.patching.tracing import Trace
from undertow.cures.patching.writing import Edits
from undertow.cures.training import Training, check
from undertow.cures.trials.seeding import random_state_kept, seed_everything
from undertow.foundation import InputError, say

PatchKind = Literal["edited in place", "lines inserted", "lines only"]
TRIES = 10
"""Ways to write a patch that are tried at most: each of them runs the file and `make` once."""
UNREADABLE = (OSError, SyntaxError, UnicodeDecodeError, cst.ParserSyntaxError)


@dataclass(frozen=True)
class Patched:
    """A cure as an edit of the user's file, or, where that is not safe, as lines to add by hand."""

    file: Path | None
    """Of the user; None where there is none."""
    name: str
    """Of `make` in it."""
    original: str
    """The file's text."""
    source: str
    """The whole text with the cure; empty where no edit is safe."""
    kind: PatchKind
    lines: str
    """What the cure itself would add, with the names `model` and `optimizer`."""
    why_not: str = ""
    """Why the file is not edited, in a sentence; empty where it is."""
    exact: bool = False
    """Whether the patched `make` was seen to start and to make its first steps just as the trial's training, given
    the same random numbers; else only the structure is the same."""
    note: str = ""
    """What the user has still to do: a loop of their own in the file knows nothing of Training.clip and the like."""
    encoding: str = "utf-8"
    aligned: str = field(default="", repr=False)
    """The same text, drawing for the cure from the trial's random numbers; for comparisons alone."""

    @property
    def diff(self) -> str:
        """Unified, from the file to the patched text; empty where the file is not edited."""
        if not self.source or self.file is None:
            return ""
        before, after = (re.findall(r"[^\n]*\n|[^\n]+$", text) for text in (self.original, self.source))
        lines = difflib.unified_diff(before, after, self.file.name, self.file.name)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def patched(make: Callable[[int], Training], cure: Cure, *, seed: int = 0) -> Patched:
    """Write a cure into the file of `make`, if an edit is seen to do what the trial did.

    Each way to write it (the calls that made what is changed edited in place; lines inserted before the optimizer or
    the Training is made) is run in memory and compared with the trial's training for this seed: modules by path,
    shapes, the optimizer with its settings and parameters, clipping, and, with the random numbers of the trial, the
    starting weights and the first two steps.  The first that is the same is the patch.

    Raises
    ------
    NotApplicableError
        The cure does not apply to this training.
    InputError
        `make` gives no Training.
    """
    with random_state_kept():
        before = _made(make, seed)
        lines = cure.patch(before)
        try:
            file = _file(make)
        except _Refused as refused:
            return Patched(None, getattr(make, "__name__", "make"), "", "", "lines only", lines, str(refused))
        seed_everything(seed)
        writer = _Writer(file, inspect.unwrap(make).__name__, cure, before, cure.apply(before), seed)
        try:
            edits, exact, kind = writer.best()
        except _Refused as refused:
            return Patched(file.path, writer.name, file.text, "", "lines only", lines, str(refused))
    source = fitted(file.text, file.changed(edits), file.width, file.tree.default_indent)
    return Patched(
        file.path,
        writer.name,
        file.text,
        source,
        kind,
        lines,
        exact=exact,
        note=writer.own_loop(),
        encoding=file.encoding,
        aligned=file.changed(edits, aligned=True),
    )


def write(patched: Patched, path: str | Path) -> Path:
    """Write the patched file to a new place.

    Raises
    ------
    InputError
        There is something at this place already, or nothing to write.
    """
    path = Path(path)
    if not patched.source:
        raise InputError(f"a patch of {patched.kind} ({patched.why_not})", "one with a diff", "the lines added by hand")
    if path.exists():
        example = f"--write {path.stem}_2{path.suffix}"
        raise InputError(f"{path}, which is there already", "a new file: none is ever written over", example)
    try:
        path.write_bytes(patched.source.encode(patched.encoding))
    except OSError as error:
        raise InputError(
            f"{path}, which cannot be written ({error.strerror})", "a file in a folder", "--write cured.py"
        ) from error
    return path


class _Refused(Exception):
    """Why no edit of the file is made, in a sentence."""


def _made(make: Callable[[int], Training], seed: int) -> Training:
    seed_everything(seed)
    return check(make(seed))


def _file(make: Callable[..., Any]) -> File:
    """The file in which `make` is written."""
    function = inspect.unwrap(make)
    if not isinstance(function, FunctionType):
        raise _Refused(say("patching.no_function", kind=type(make).__name__))
    if function.__qualname__ != function.__name__ or not function.__name__.isidentifier():
        raise _Refused(say("patching.nested", name=function.__qualname__))
    path = Path(function.__code__.co_filename)
    try:
        file = File(path)
    except UNREADABLE as error:
        raise _Refused(say("patching.no_file", file=path.name)) from error
    if function.__module__ == "__main__" and "__name__" not in file.text:
        raise _Refused(say("patching.script", file=path.name))
    return file


def _told(training: Training, part: str) -> str:
    """A part of a training so that a copy of it is told as itself."""
    value = getattr(training, part, None)
    return type(value).__name__ if callable(value) or hasattr(value, "step") else repr(value)


class _Writer:
    """The ways to write one cure into one file, and the check of each."""

    def __init__(self, file: File, name: str, cure: Cure, before: Training, after: Training, seed: int) -> None:
        self.file, self.name, self.seed = file, name, seed
        self.before, self.after = before, after
        self.edits, self.snippet = cure.edits(before), snippet(cure, before)
        self.wanted = Fingerprint(after, seed)

    def best(self) -> tuple[list[Change], bool, PatchKind]:
        """The changes, whether they were seen to be exact, and of which kind they are."""
        try:
            trace = Trace(self.file, self.name, self.seed)
        except (Exception, SystemExit) as error:
            raise _Refused(say("patching.failed", file=self.file.path.name, reason=failure(error))) from error
        difference, loose = "", None
        for changes, kind in islice(self._ways(trace), TRIES):
            unlike, moves = self._compared(changes)
            if not unlike and not moves:
                return changes, True, kind
            difference = difference or unlike or moves
            if not unlike and kind == "lines inserted":
                loose = loose or changes
        if loose is not None:
            return loose, False, "lines inserted"
        if not difference:
            raise _Refused(say("patching.no_place", file=self.file.path.name))
        raise _Refused(say("patching.unlike", file=self.file.path.name, difference=difference))

    def own_loop(self) -> str:
        """What to do in a loop of the user's own where the cure is of the loop; empty where there is nothing to do."""
        changed = [f for f in ("clip", "scheduler", "after_step") if _told(self.before, f) != _told(self.after, f)]
        steps = [c for c in self.file.calls if isinstance(c.func, cst.Attribute) and c.func.attr.value == "step"]
        if not changed or not steps:
            return ""
        line = self.file.data[: self.file.span(steps[0])[0]].count(b"\n") + 1
        return say("patching.own_loop", file=self.file.path.name, line=line, parts=", ".join(changed))

    def _ways(self, trace: Trace) -> Iterator[tuple[list[Change], PatchKind]]:
        place = in_place(self.file, trace, self.before, self.after, self.edits)
        statements = self.snippet.statements
        some = [c for n in range(len(statements) + 1) for c in combinations(statements, n)] if place else []
        remade = optimizer_code(self.after.optimizer, self.after.model)
        for edits, chosen, optimizer in (
            *((place, chosen, None) for chosen in some[: TRIES - 3]),
            (self._source_edits(place), statements, None),
            (self._source_edits(place), statements, remade),
        ):
            changes = self._together(trace, edits, chosen, optimizer)
            if changes:
                yield changes, "edited in place" if edits else "lines inserted"

    def _source_edits(self, place: Edits) -> Edits:
        """Those that no inserted line can stand for."""
        count = sum(str(self.file.path) == edit.file for edit in set(self.edits))
        return Edits(place.changes[:count])

    def _together(self, trace: Trace, edits: Edits, chosen: Sequence[Statement], optimizer: str | None) -> list[Change]:
        try:
            found = Edits([*edits.changes], [*edits.imports])
            if chosen or optimizer:
                found += inserted(self.file, trace, self.snippet, chosen, optimizer)
            changes = [*found.changes, *import_changes(self.file, found.imports, trace.globals)]
            self.file.changed(changes)
        except (NoPlaceError, NameTakenError, OverlapError):
            return []
        return changes

    def _compared(self, changes: list[Change]) -> tuple[str, str]:
        """How the structure, and how the first steps, differ from the trial's."""
        try:
            compile(self.file.changed(changes), str(self.file.path), "exec")
            text = self.file.changed(changes, aligned=True)
            with loaded(text, self.file.path, {HOLDER: Draws(self.seed)}) as module:
                found = Fingerprint(_made(getattr(module, self.name), self.seed), self.seed)
        except (Exception, SystemExit) as error:
            return failure(error), ""
        if unlike := self.wanted.unlike(found):
            return unlike, ""
        return "", self.wanted.moves_unlike(found)
