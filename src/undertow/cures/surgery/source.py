"""Edits of the user's source, and their effect on a copy: a trial runs the very text that the patch writes."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from undertow.cures.surgery.reach import Reach, like, methods
from undertow.cures.training import Training
from undertow.foundation import ModelError, say


@dataclass(frozen=True, order=True)
class Edit:
    """One expression or statement of a file, and what to write instead.

    Lines count from 1, columns from 0, in characters; `old` is exactly what stands between them.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    old: str
    new: str

    @property
    def place(self) -> str:
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"

    def within(self, code: CodeType) -> bool:
        """Whether a function's lines hold it, its decorators included."""
        lines = [line for *_, line in code.co_lines() if line is not None]
        return code.co_filename == self.file and code.co_firstlineno <= self.line <= max(lines, default=0)


def edits_patch(edits: Iterable[Edit]) -> str:
    """The edits as comments, for a reader who makes them by hand."""
    lines: list[str] = []
    for edit in sorted(set(edits)):
        lines.append(f"# {say('cures.patch.edit', place=edit.place)}")
        lines += [f"#     {line}" for line in edit.old.split("\n")]
        lines.append(f"# {say('cures.patch.edit_new')}")
        lines += [f"#     {line}" for line in edit.new.split("\n")]
    return "\n".join(lines) + "\n" if lines else ""


def source_text(file: str) -> str:
    """The text of a source file, as the traceback of an error would show it; empty where there is none."""
    return "".join(linecache.getlines(file))


def spliced(text: str, edits: Iterable[Edit]) -> str:
    """The text with each edit in its place, all else as it was.

    Raises
    ------
    ModelError
        Something else stands where an edit belongs, or two edits overlap.
    """
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for edit in reversed(merged(edits)):
        begin, end = starts[edit.line - 1] + edit.column, starts[edit.end_line - 1] + edit.end_column
        if text[begin:end] != edit.old:
            raise _changed(edit.place)
        text = text[:begin] + edit.new + text[end:]
    return text


def merged(edits: Iterable[Edit]) -> list[Edit]:
    """The edits in order; one inside of another is made in the other's new text.

    Raises
    ------
    ModelError
        Two overlap otherwise, or the outer one does not keep what the inner one changes.
    """
    found: list[Edit] = []
    for edit in sorted(set(edits), key=lambda e: (e.line, e.column, -e.end_line, -e.end_column)):
        outer = found[-1] if found else None
        if outer is None or (edit.line, edit.column) >= (outer.end_line, outer.end_column):
            found.append(edit)
        elif outer.new.count(edit.old) == 1:
            found[-1] = replace(outer, new=outer.new.replace(edit.old, edit.new))
        else:
            raise _changed(edit.place)
    return found


def apply_edits_(training: Training, edits: Sequence[Edit]) -> None:
    """The training's model and loss run the edited source from now on; nothing is written to any file.

    A module gets a class of its own, derived from the user's, whose edited methods, and those that call an edited
    helper, are compiled from the new text: it is an instance of the user's class as before, is copied and pickled.

    Raises
    ------
    ModelError
        The source isn't there or isn't what runs, or the code can't be reached from the model's classes and the loss.
    """
    edits, reached = tuple(edits), set[Edit]()
    if not edits:
        return
    for module in training.model.modules():
        changed, found = _edited(type(module), edits)
        module.__class__ = changed
        reached |= found
    reach = _reach(edits)
    if isinstance(training.loss, FunctionType):
        training.loss = reach.changed(training.loss)
        reached |= reach.reached
    elif isinstance(training.loss, nn.Module):
        changed, found = _edited(type(training.loss), edits)
        training.loss.__class__ = changed
        reached |= found
    if missed := sorted(set(edits) - reached):
        raise ModelError(
            f"{missed[0].place}, which no method of the model's modules and no function that they call by name holds",
            "code in a method of a module, in the loss or in a function of the same file",
            f"write {missed[0].new} in place of {missed[0].old} by hand",
        )


@lru_cache(maxsize=64)
def _edited(kind: type[nn.Module], edits: tuple[Edit, ...]) -> tuple[type[nn.Module], frozenset[Edit]]:
    """A class derived from this one with its methods edited, itself where none is concerned; the edits that it holds.

    A method of a parent is edited in a class of its own, which comes before the parent in the order of resolution, so
    that `super().forward(x)` finds it too.
    """
    reach = _reach(edits)
    changed = {parent: _changed_methods(parent, reach) for parent in kind.__mro__ if issubclass(parent, nn.Module)}
    members, *inherited = changed.values()
    if not members and not any(inherited):
        return kind, frozenset()

    def reduced(self: nn.Module, protocol: Any) -> Any:
        made, (_, *given), *state = super(new, self).__reduce_ex__(protocol)
        return _made_again, (made, kind, edits, *given), *state

    parents = [_derived((parent,), found) for parent, found in changed.items() if found and parent is not kind]
    new = _derived((kind, *parents), members | {"__reduce_ex__": reduced})
    return new, frozenset(reach.reached)


def _derived(bases: tuple[type[nn.Module], ...], members: dict[str, Any]) -> type[nn.Module]:
    named = {"__module__": bases[0].__module__, "__qualname__": bases[0].__qualname__}
    return type(bases[0].__name__, bases, members | named)


def _changed_methods(kind: type[nn.Module], reach: Reach[Edit]) -> dict[str, Any]:
    pairs = {name: (method, reach.changed(method)) for name, method in methods(kind).items()}
    return {name: new for name, (old, new) in pairs.items() if new is not old}


def _made_again(made: Any, kind: type[nn.Module], edits: tuple[Edit, ...], *given: Any) -> Any:
    return made(_edited(kind, edits)[0], *given)


def _reach(edits: tuple[Edit, ...]) -> Reach[Edit]:
    def rewrite(function: FunctionType) -> tuple[FunctionType, list[Edit]]:
        inside = [edit for edit in edits if edit.within(function.__code__)]
        return (_rewritten(function, inside) if inside else function), inside

    return Reach(rewrite)


def _rewritten(function: FunctionType, edits: Sequence[Edit]) -> FunctionType:
    """The function as the edited text defines it, with the same globals, defaults and enclosing variables."""
    code = function.__code__
    text = source_text(code.co_filename)
    way = _way(_compiled(text, code.co_filename), code)
    if way is None:
        raise _changed(f"{code.co_filename}:{code.co_firstlineno}")
    new = _compiled(spliced(text, edits), code.co_filename)
    for index in way:
        new = list(_inner(new))[index]
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    if not set(new.co_freevars) <= set(cells):
        raise _changed(f"{code.co_filename}:{code.co_firstlineno}")
    return like(function, new, tuple(cells[name] for name in new.co_freevars))


@lru_cache(maxsize=32)
def _compiled(text: str, file: str) -> CodeType:
    try:
        return compile(text, file, "exec", dont_inherit=True)
    except SyntaxError as error:  # a notebook's cell with magics, a file that was changed meanwhile
        raise _changed(f"{file}:{error.lineno}") from error


def _inner(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def _way(code: CodeType, wanted: CodeType) -> tuple[int, ...] | None:
    """From a file's code to one of its functions, by the position among the functions of each level."""
    for index, inner in enumerate(_inner(code)):
        if inner == wanted:  # by its instructions, names, constants and lines
            return (index,)
        if (rest := _way(inner, wanted)) is not None:
            return (index, *rest)
    return None


def _changed(place: str) -> ModelError:
    return ModelError(
        f"source at {place} that isn't the code that runs",
        "a file that was not changed since it was imported",
        "start the program anew",
    )
