"""A Python file as bytes, its syntax tree, and edits of it that leave every other byte as it is."""

from __future__ import annotations

import io
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, ParentNodeProvider

STANDARD = 88
"""Black's and ruff's line length."""
Node = TypeVar("Node", bound=cst.CSTNode)


@dataclass(frozen=True, order=True)
class Change:
    """New text in place of the bytes from `start` to `end`; an insertion where these are the same."""

    start: int
    end: int
    text: str
    aligned: str | None = None
    """What stands there instead when the patch is compared with the trial: the same, drawing from the trial's
    generator (see `draws`)."""


def _configured(path: Path) -> int | None:
    """The line length of ruff or black in the nearest project file that has one."""
    for folder in path.resolve().parents:
        for name, tools in (("ruff.toml", ()), (".ruff.toml", ()), ("pyproject.toml", ("ruff", "black"))):
            try:
                found = tomllib.loads((folder / name).read_text(encoding="utf-8"))
            except (OSError, ValueError):  # none, or one that the formatter refuses too
                continue
            tables = [found.get("tool", {}).get(tool, {}) for tool in tools] or [found]
            length = next((table["line-length"] for table in tables if "line-length" in table), None)
            if isinstance(length, int):
                return length
    return None


class OverlapError(ValueError):
    """Two changes of the same place."""


class File:
    """A file's text in UTF-8, with the places of its syntax tree in it.

    Raises
    ------
    libcst.ParserSyntaxError, SyntaxError, UnicodeDecodeError
        It is no Python.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path, self.encoding = path, "utf-8"
        if text is None:
            raw = path.read_bytes()
            self.encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
            text = raw.decode(self.encoding)
        self.text = text
        self.data = self.text.encode()
        wrapper = MetadataWrapper(cst.parse_module(self.text), unsafe_skip_copy=True)
        self.tree = wrapper.module
        self._spans = wrapper.resolve(ByteSpanPositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Where a node begins and ends, without the parentheses around it."""
        found = self._spans[node]
        return found.start, found.start + found.length

    def code(self, node: cst.CSTNode) -> str:
        """As it is written, comments and parentheses included."""
        return self.tree.code_for_node(node)

    def replaced(self, node: cst.CSTNode, text: str) -> Change:
        return Change(*self.span(node), text)

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes that this one is part of, the nearest first."""
        above = self._parents.get(node)
        while above is not None:
            yield above
            above = self._parents.get(above)

    def nearest(self, node: cst.CSTNode, kind: type[Node]) -> Node | None:
        return next((above for above in self.around(node) if isinstance(above, kind)), None)

    @cached_property
    def calls(self) -> list[cst.Call]:
        """Every call of the file, the inner before the outer."""
        found: list[cst.Call] = []

        class Visitor(cst.CSTVisitor):
            def leave_Call(self, original_node: cst.Call) -> None:
                found.append(original_node)

        self.tree.visit(Visitor())
        return found

    def names(self, within: cst.CSTNode | None = None) -> list[cst.Name]:
        """Every identifier, but the names of attributes, keywords and what is imported."""
        found: list[cst.Name] = []

        class Visitor(cst.CSTVisitor):
            def visit_Name(self, node: cst.Name) -> None:
                found.append(node)

            def visit_Attribute_attr(self, node: cst.Attribute) -> None:
                skipped.add(node.attr)

            def visit_Arg_keyword(self, node: cst.Arg) -> None:
                skipped.add(node.keyword)

            def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
                return False

            def visit_Import(self, node: cst.Import) -> bool:
                return False

        skipped: set[cst.CSTNode | None] = set()
        (within or self.tree).visit(Visitor())
        return [name for name in found if name not in skipped]

    def line_start(self, place: int) -> int:
        return self.data.rfind(b"\n", 0, place) + 1

    def indent(self, place: int) -> str | None:
        """The white space before this place; None where code stands before it in its line."""
        before = self.data[self.line_start(place) : place].decode()
        return before if not before.strip() else None

    @cached_property
    def width(self) -> int:
        """Characters that a line may have: as the project's formatter is told, else as the longest line of the file's
        code, but at least the formatters' own 88."""
        return _configured(self.path) or max(STANDARD, *self._code_widths())

    def _code_widths(self) -> Iterator[int]:
        """Where the code ends in each line, comments and texts left aside."""
        yield 0
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
                yield token.end[1]

    def changed(self, changes: Iterable[Change], aligned: bool = False) -> str:
        """The whole text with the changes, new lines ended as the file's own.

        Raises
        ------
        OverlapError
            Two changes of the same bytes.
        """
        newline, parts, done = self.tree.default_newline, [], 0
        for change in sorted(set(changes), key=lambda c: (c.start, c.end)):
            if change.start < done:
                raise OverlapError(f"two changes at byte {change.start}")
            text = change.aligned if aligned and change.aligned is not None else change.text
            parts += [self.data[done : change.start].decode(), text.replace("\n", newline)]
            done = change.end
        return "".join([*parts, self.data[done:].decode()])
