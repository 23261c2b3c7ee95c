"""The lines that a cure would add, taken apart: imports, definitions, statements; and written in the user's names."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from undertow.cures.cure import Cure
from undertow.cures.patching.layout import broken, one_line
from undertow.cures.search.together import Together
from undertow.cures.surgery.source import edits_patch
from undertow.cures.training import Training


@dataclass(frozen=True)
class Statement:
    """One statement of a patch with the comments above it."""

    node: cst.BaseStatement

    @cached_property
    def loaded(self) -> frozenset[str]:
        """The names that it reads."""
        return _names(self.node, ast.Load)

    @cached_property
    def stored(self) -> frozenset[str]:
        """The names that it gives a value."""
        return _names(self.node, ast.Store)

    def used(self) -> frozenset[str]:
        return self.loaded | self.stored

    def code(self, names: Mapping[str, str], indent: str, width: int) -> str:
        """The lines with other names, indented in steps of `indent`, broken where they are longer than `width`."""
        node = self.node.visit(_Writing(names))
        assert isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement)
        node = node.with_changes(leading_lines=_comments(self.node))
        lines = one_line(cst.Module([node], default_indent=indent).code).rstrip("\n").split("\n")
        starts = [line[: len(line) - len(line.lstrip())] for line in lines]
        pairs = zip(starts, lines, strict=True)
        return "\n".join(new for start, line in pairs for new in broken(line.strip(), start, width, indent)) + "\n"


@dataclass(frozen=True)
class Snippet:
    """A cure's `patch`, by its parts."""

    imports: tuple[str, ...]
    definitions: tuple[Statement, ...]
    statements: tuple[Statement, ...]

    @property
    def defined(self) -> frozenset[str]:
        return frozenset(
            d.node.name.value for d in self.definitions if isinstance(d.node, cst.ClassDef | cst.FunctionDef)
        )

    def needed(self, statements: Sequence[Statement]) -> tuple[list[str], list[Statement]]:
        """The imports and definitions that these statements need."""
        helpers = list(self.definitions) if any(s.loaded & self.defined for s in statements) else []
        loaded = frozenset().union(*(s.loaded for s in [*statements, *helpers]))
        return [line for line in self.imports if bound(line) in loaded], helpers


def snippet(cure: Cure, training: Training) -> Snippet:
    """Of a cure's lines, without the edits of the source that are told in its comments."""
    body = cst.parse_module(_lines(cure, training)).body
    imports = [b for b in body if isinstance(b, cst.SimpleStatementLine) and _is_import(b)]
    definitions = [b for b in body if isinstance(b, cst.ClassDef | cst.FunctionDef)]
    rest = [b for b in body if b not in imports and b not in definitions]
    lines = [line for b in imports for line in _one_name_each(b)]
    return Snippet(
        tuple(dict.fromkeys(lines)),
        tuple(Statement(b) for b in definitions),
        tuple(Statement(b) for b in rest if isinstance(b, cst.BaseStatement)),
    )


def _lines(cure: Cure, training: Training) -> str:
    if isinstance(cure, Together):
        return "\n".join(_lines(part, training) for part in cure.parts)
    edits = edits_patch(cure.edits(training))
    text = cure.patch(training)
    return text.replace(edits, "") if edits else text


def _is_import(line: cst.SimpleStatementLine) -> bool:
    return all(isinstance(part, cst.Import | cst.ImportFrom) for part in line.body)


def _one_name_each(line: cst.SimpleStatementLine) -> list[str]:
    found: list[str] = []
    for node in ast.parse(cst.Module([line]).code).body:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names:
            named = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            found.append(
                f"from {node.module} import {named}" if isinstance(node, ast.ImportFrom) else f"import {named}"
            )
    return found


def bound(line: str) -> str:
    """The name that an import of one thing gives."""
    return line.split()[-1].partition(".")[0]


def _names(node: cst.CSTNode, context: type[ast.expr_context]) -> frozenset[str]:
    tree = ast.parse(cst.Module([node]).code)  # type: ignore[list-item]
    return frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, context))


def _comments(node: cst.BaseStatement) -> list[cst.EmptyLine]:
    return [line for line in getattr(node, "leading_lines", ()) if line.comment is not None]


class _Writing(cst.CSTTransformer):
    """Other names, and quotes as the formatters have them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names
        self._kept: set[cst.CSTNode | None] = set()

    def visit_Attribute_attr(self, node: cst.Attribute) -> None:
        self._kept.add(node.attr)

    def visit_Arg_keyword(self, node: cst.Arg) -> None:
        self._kept.add(node.keyword)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        new = None if original_node in self._kept else self._names.get(original_node.value)
        return updated_node if new is None else cst.parse_expression(new)

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        text = updated_node.value
        if text.startswith("'") and not text.startswith("'''") and not set('"\\') & set(text):
            return updated_node.with_changes(value=f'"{text[1:-1]}"')
        return updated_node
