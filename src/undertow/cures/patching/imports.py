"""Imports put with those that a file has."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import libcst as cst

from undertow.cures.patching.snippet import bound
from undertow.cures.patching.text import Change, File

Key = tuple[int, bool, str]


class NameTakenError(ValueError):
    """The file uses a name that an import would need for something else."""


def import_changes(file: File, lines: Iterable[str], names: Mapping[str, Any]) -> list[Change]:
    """The imports that the file lacks, each where its sorted place is.

    Raises
    ------
    NameTakenError
        A name that is needed is something else in the file.
    """
    missing = [line for line in dict.fromkeys(lines) if not _there(line, names)]
    at: dict[int, list[str]] = {}
    joined: list[Change] = []
    for line in sorted(missing, key=_key):
        change = _joined(file, line)
        if change is None:
            at.setdefault(_place(file, line), []).append(line)
        else:
            joined.append(change)
    return [*joined, *(Change(place, place, _lines(file, place, new)) for place, new in at.items())]


def _joined(file: File, line: str) -> Change | None:
    """`from torch import Tensor` → the import that the file has of other things of torch."""
    words = line.split()
    for node, _ in _imports(file) if words[0] == "from" and "as" not in words else ():
        found = node.body[0]
        if not isinstance(found, cst.ImportFrom) or isinstance(found.names, cst.ImportStar) or found.lpar:
            continue
        if found.module is not None and not found.relative and file.code(found.module) == words[1]:
            named = [file.code(alias.name) for alias in found.names]
            after = [alias for alias, name in zip(found.names, named, strict=True) if _order(name) > _order(words[3])]
            place = file.span(after[0])[0] if after else file.span(found.names[-1])[1]
            return Change(place, place, f"{words[3]}, " if after else f", {words[3]}")
    return None


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as isort and ruff have it."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), name


def _there(line: str, names: Mapping[str, Any]) -> bool:
    name = bound(line)
    if name not in names:
        return False
    if names[name] is not _imported(line):
        raise NameTakenError(name)
    return True


def _imported(line: str) -> Any:
    words = line.split()
    if words[0] == "from":
        home = import_module(words[1])
        return getattr(home, words[3])
    return import_module(words[1] if "as" in words else words[1].partition(".")[0])


def _place(file: File, line: str) -> int:
    """After the last import that sorts before it, else before the first one, else before the first code."""
    found = _imports(file)
    key = _key(line)
    before = [node for node, other in found if other <= key and other[2].partition(".")[0] == key[2].partition(".")[0]]
    before = before or [node for node, other in found if other <= key]
    if before:
        return _end(file, before[-1])
    if found:
        return file.line_start(file.span(found[0][0])[0])
    first = next(iter(_code(file)), None)
    return file.line_start(file.span(first)[0]) if first is not None else len(file.data)


def _lines(file: File, place: int, new: list[str]) -> str:
    """With an empty line between kinds of imports: the standard library's, others."""
    text = "\n".join(new) + "\n"
    found = _imports(file)
    above = [key for node, key in found if _end(file, node) <= place]
    below = [key for node, key in found if file.span(node)[0] >= place]
    if above and above[-1][0] != _key(new[0])[0]:
        text = "\n" + text
    elif not above and below and below[0][0] != _key(new[-1])[0]:
        text += "\n"
    elif not found:
        text += "\n\n"
    return text


def _end(file: File, node: cst.CSTNode) -> int:
    end = file.data.find(b"\n", file.span(node)[1])
    return len(file.data) if end < 0 else end + 1


def _imports(file: File) -> list[tuple[cst.SimpleStatementLine, Key]]:
    """The imports at the top of the file, until other code comes."""
    found: list[tuple[cst.SimpleStatementLine, Key]] = []
    for node in _code(file):
        if not isinstance(node, cst.SimpleStatementLine) or not isinstance(node.body[0], cst.Import | cst.ImportFrom):
            break
        found.append((node, _key(file.code(node.body[0]))))
    return found


def _code(file: File) -> list[cst.CSTNode]:
    """The statements of the file after its docstring."""
    body = list(file.tree.body)
    documented = file.tree.get_docstring(clean=False) is not None
    return list(body[1:] if documented else body)


def _key(line: str) -> Key:
    """As isort and ruff have it: future, standard library, others; `import` before `from`; by module."""
    module = line.split()[1]
    top = module.partition(".")[0]
    section = 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2
    return section, line.startswith("from"), module.lower()
