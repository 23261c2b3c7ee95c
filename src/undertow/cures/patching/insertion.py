"""The lines that a cure adds, put where they belong in the user's file."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from undertow.cures.patching.arguments import argument, set_argument, starred
from undertow.cures.patching.draws import block
from undertow.cures.patching.snippet import Snippet, Statement
from undertow.cures.patching.text import Change, File
from undertow.cures.patching.tracing import Site, Trace
from undertow.cures.patching.writing import Edits
from undertow.cures.training import Training

FIELDS = list(inspect.signature(Training).parameters)


class NoPlaceError(ValueError):
    """The file has no place where the lines could go."""


@dataclass
class _Block:
    """Lines before one statement of the file."""

    anchor: cst.CSTNode
    lines: list[str]
    """At no indentation."""


def inserted(
    file: File, trace: Trace, patch: Snippet, statements: Sequence[Statement], optimizer: str | None = None
) -> Edits:
    """The statements in the user's names: those that change only the model before the optimizer is made, the others
    before the Training.

    With `optimizer`, the code that makes it (as `torch.optim.SGD(model.parameters(), lr=0.1)`), all go before the
    Training and the optimizer is made anew between them: for files whose own optimizer is made elsewhere.

    Raises
    ------
    NoPlaceError
        There is none, or the model has no name there.
    """
    early = [s for s in statements if not s.used() & {*FIELDS[1:]}]
    late = [s for s in statements if s not in early]
    imports, helpers = patch.needed(statements)
    found, blocks = Edits(imports=[*imports, *(["import torch"] if optimizer else [])]), []
    renamed = {name: _fresh(name, _taken(file)) for name in patch.defined}
    if early and optimizer is None:
        blocks.append(_early(file, trace, early, renamed))
        early = []
    if early or late or optimizer:
        remade = [Statement(cst.parse_module(f"optimizer = {optimizer}\n").body[0])] if optimizer else []  # type: ignore[arg-type]
        one, changes = _late(file, trace, [*early, *remade, *late], renamed)
        blocks.append(one)
        found.changes += changes
    found.changes += _placed(file, blocks)
    found.changes += _defined(file, blocks[0].anchor, helpers, renamed) if helpers else []
    return found


def _early(file: File, trace: Trace, statements: Sequence[Statement], renamed: dict[str, str]) -> _Block:
    site = trace.site(trace.training.optimizer)
    name = trace.named(site, trace.training.model) if site else None
    if site is None or name is None:
        raise NoPlaceError
    anchor = _anchor(file, site)
    return _Block(anchor, _written(file, anchor, statements, {**renamed, "model": name}))


def _late(
    file: File, trace: Trace, statements: Sequence[Statement], renamed: dict[str, str]
) -> tuple[_Block, list[Change]]:
    site = trace.site(trace.training)
    if site is None:
        raise NoPlaceError
    anchor = _anchor(file, site)
    used = frozenset().union(*(s.used() for s in statements))
    loaded = frozenset().union(*(s.loaded for s in statements))
    stored = frozenset().union(*(s.stored for s in statements))
    names, changes, hoisted = dict(renamed), [], []
    for field in (f for f in FIELDS if f in used):
        known, needs, change = _field(file, trace, site, field, field in loaded, field in stored)
        names[field] = known
        changes += change
        hoisted += needs
    return _Block(anchor, [*hoisted, *_written(file, anchor, statements, names)]), changes


def _field(
    file: File, trace: Trace, site: Site, field: str, loaded: bool, stored: bool
) -> tuple[str, list[str], list[Change]]:
    """How a field of the Training is called before it is made, with the lines and the change that give it the name."""
    index = FIELDS.index(field)
    given = argument(site.call, field, index)
    if given is None and starred(site.call):
        name = trace.named(site, getattr(trace.training, field))
        if name is None or stored:
            raise NoPlaceError
        return name, [], []
    # A global can be read, but an assignment would make another variable of it in the whole function.
    if given is not None and _is_variable(given.value) and (not stored or file.code(given.value) in site.local):
        return file.code(given.value), [], []
    if given is not None and isinstance(given.value, cst.Attribute) and not stored:
        return file.code(given.value), [], []
    name = _fresh(field, _taken(file, site.call))
    lines = [f"{name} = {file.code(given.value)}\n"] if given is not None and loaded else []
    return name, lines, [set_argument(file, site.call, field, index, name)]


def _is_variable(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value != "None"


def _anchor(file: File, site: Site) -> cst.CSTNode:
    """The statement that a call is part of."""
    line = file.nearest(site.call, cst.SimpleStatementLine)
    if line is not None:
        return line
    suite = file.nearest(site.call, cst.SimpleStatementSuite)
    if suite is None or len(suite.body) != 1:
        raise NoPlaceError
    return suite.body[0]


def _written(file: File, anchor: cst.CSTNode, statements: Sequence[Statement], names: dict[str, str]) -> list[str]:
    """The statements with these names, and others for helpers that the function around uses for something else."""
    taken = _taken(file, anchor)
    own = frozenset().union(*(s.stored for s in statements)) - {*FIELDS}
    names = {**names, **{name: _fresh(name, taken) for name in own}}
    width = file.width - len(file.indent(file.span(anchor)[0]) or "")
    return [s.code(names, file.tree.default_indent, width) for s in statements]


def _taken(file: File, node: cst.CSTNode | None = None) -> frozenset[str]:
    """The names in use in the function around, or in the whole file."""
    around = file.nearest(node, cst.FunctionDef) if node is not None else None
    return frozenset(name.value for name in file.names(around))


def _fresh(name: str, taken: frozenset[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _placed(file: File, blocks: Sequence[_Block]) -> list[Change]:
    """One insertion a place, the earlier block first."""
    joined: dict[cst.CSTNode, list[str]] = {}
    for each in blocks:
        joined.setdefault(each.anchor, []).extend(each.lines)
    return [_before(file, anchor, lines) for anchor, lines in joined.items()]


def _before(file: File, anchor: cst.CSTNode, lines: list[str]) -> Change:
    start = file.span(anchor)[0]
    if isinstance(anchor, cst.SimpleStatementLine):
        indent = file.indent(start)
        assert indent is not None
        place = _above_comments(file, file.line_start(start), indent)
        text = _indented(lines, indent)
        return Change(place, place, text, block(text, indent))
    # def make(seed): return ...
    outer = file.data[(first := file.line_start(start)) : start].decode()
    indent = outer[: len(outer) - len(outer.lstrip())] + file.tree.default_indent
    text = _indented(lines, indent)
    end = first + len(outer.rstrip().encode())
    return Change(end, start, f"\n{text}{indent}", f"\n{block(text, indent)}{indent}")


def _indented(lines: list[str], indent: str) -> str:
    return "".join(indent + line for part in lines for line in part.splitlines(keepends=True))


def _above_comments(file: File, place: int, indent: str) -> int:
    """The comments directly above a statement belong to it."""
    while place:
        above = file.line_start(place - 1)
        if not file.data[above:place].decode().startswith(f"{indent}#"):
            break
        place = above
    return place


def _defined(file: File, anchor: cst.CSTNode, helpers: Sequence[Statement], renamed: dict[str, str]) -> list[Change]:
    """Classes and functions of the patch, before the definition in which they are used."""
    top = anchor
    for above in file.around(anchor):
        if isinstance(above, cst.Module):
            break
        top = above
    decorators = getattr(top, "decorators", ())
    place = _above_comments(file, file.line_start(file.span(decorators[0] if decorators else top)[0]), "")
    codes = [h.code(renamed, file.tree.default_indent, file.width).strip("\n") for h in helpers]
    return [Change(place, place, "".join(f"{code}\n\n\n" for code in codes))]
