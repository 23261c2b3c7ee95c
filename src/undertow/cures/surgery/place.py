"""Where in the user's source a torch call stands: the very expression, from the position of its instruction."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from types import FrameType, ModuleType

from torch import Tensor

from undertow.cures.surgery.reach import is_users
from undertow.cures.surgery.source import Edit, source_text

INNER = ("undertow", "torch")
OUTSIDE = "undertow.probe.objective"
"""Whoever calls it is no longer in the model or the loss."""
MODULES = ("torch", "torch.nn", "torch.nn.functional")
ALSO_TORCH = ("relu", "sigmoid", "tanh", "softmax", "log_softmax", "selu", "where")
"""Functions that torch itself has too, and that are mostly written so."""


@dataclass(frozen=True)
class Place:
    """One expression in a file."""

    file: str
    line: int
    end_line: int
    begin: int
    """In bytes, as Python's own positions are."""
    end: int
    operation: str = ""
    given: int = 0
    """How many arguments by position torch was given: one more than a method's brackets hold."""
    crossed: bool = False
    """Whether a module of torch's stands between: then it is the module's call, not torch's."""
    names: tuple[tuple[str, str], ...] = ()
    """What the file calls torch, torch.nn and torch.nn.functional, as far as it imports them."""

    @property
    def text(self) -> str:
        """The file's."""
        return source_text(self.file)

    @cached_property
    def node(self) -> ast.expr | None:
        """The expression; None where the file is not what runs."""
        return _at(self.text, self.line, self.end_line, self.begin, self.end)

    @property
    def short(self) -> str:
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"

    def applied(self, function: str, *more: str) -> str:
        """Another function of torch.nn.functional applied to the operand; empty where the file can't name it."""
        operand, node = self.operand, self.node
        if operand is None:
            return ""
        text = self.source(operand)
        if isinstance(node, ast.Call) and self._is_method(node) and not more and hasattr(Tensor, function):
            return f"{bracketed(text, operand)}.{function}()"
        name = self.torch(function)
        return f"{name}({', '.join([text, *more])})" if name else ""

    def passed(self) -> str:
        """The operand alone, as an expression that may stand where the call stood."""
        operand, outer = self.operand, next(self.around(), None)
        if operand is None:
            return ""
        free = isinstance(outer, ast.Assign | ast.Return | ast.AnnAssign | ast.Call | ast.Expr)
        free = free and not (isinstance(outer, ast.Call) and outer.func is self.node)
        return self.source(operand) if free else bracketed(self.source(operand), operand)

    def source(self, node: ast.AST) -> str:
        """What stands there for a part of the expression."""
        return ast.get_source_segment(self.text, node) or ""

    def torch(self, function: str) -> str:
        """How the file would write this function of torch.nn.functional; empty where it imports none of torch."""
        known = dict(self.names)
        for module, inner in (("torch.nn.functional", ""), ("torch.nn", "functional."), ("torch", "nn.functional.")):
            if module == "torch.nn.functional" and function in ALSO_TORCH and "torch" in known:
                return f"{known['torch']}.{function}"
            if module in known:
                return f"{known[module]}.{inner}{function}"
        return ""

    @property
    def operand(self) -> ast.expr | None:
        """What the expression's function or method is applied to, where it is a call or an attribute."""
        node = self.node
        if isinstance(node, ast.Attribute):
            return node.value
        if not isinstance(node, ast.Call):
            return None
        if self._is_method(node):
            assert isinstance(node.func, ast.Attribute)
            return node.func.value
        given = {word.arg: word.value for word in node.keywords}
        return node.args[0] if node.args else given.get("input")

    def _is_method(self, node: ast.Call) -> bool:
        """Whether it is a tensor's own method, and not a function that the model keeps as an attribute."""
        function = node.func
        if not isinstance(function, ast.Attribute) or self.source(function.value) in self._modules:
            return False
        return function.attr.strip("_") == self.operation and len(node.args) < self.given

    @property
    def _modules(self) -> set[str]:
        known = dict(self.names)
        inner = {
            f"{known[m]}.{rest}" for m, rest in (("torch", "nn.functional"), ("torch.nn", "functional")) if m in known
        }
        return {*known.values(), *inner}

    def edit(self, node: ast.AST, new: str) -> Edit:
        """The edit that writes something else in the place of a part of the file."""
        return edit_of(self.file, self.text, node, new)

    def around(self) -> Iterator[ast.AST]:
        """What the expression is part of, from the inside out."""
        parents, node = parents_of(self.text), self.node
        while node is not None and (node := parents.get(node)) is not None:
            yield node


def edit_of(file: str, text: str, node: ast.AST, new: str) -> Edit:
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = text.split("\n")
    begin = _characters(lines[node.lineno - 1], node.col_offset)
    end = _characters(lines[node.end_lineno - 1], node.end_col_offset)
    old = ast.get_source_segment(text, node) or ""
    return Edit(file, node.lineno, begin, node.end_lineno, end, old, new)


def users_place(operation: str = "", given: int = 0) -> Place | None:
    """Of the innermost call under way in the user's own code."""
    crossed = False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (name := frame.f_globals.get("__name__", "")).partition(".")[0] in INNER:
        if name == OUTSIDE:
            return None
        crossed = crossed or name.startswith("torch.nn.modules")
        frame = frame.f_back
    if frame is None or not is_users(frame):
        return None
    positions = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    line, end_line, begin, end = positions
    if line is None or end_line is None or begin is None or end is None:  # python -X no_debug_ranges
        return None
    known = {module: name for name, value in frame.f_globals.items() for module in _torch_module(value)}
    return Place(frame.f_code.co_filename, line, end_line, begin, end, operation, given, crossed, tuple(known.items()))


def _torch_module(value: object) -> list[str]:
    return [value.__name__] if isinstance(value, ModuleType) and value.__name__ in MODULES else []


def bracketed(text: str, node: ast.AST) -> str:
    """A part of an expression as an operand of another."""
    plain = ast.Name | ast.Call | ast.Attribute | ast.Subscript | ast.Constant
    return text if isinstance(node, plain) else f"({text})"


def _at(text: str, line: int, end_line: int, begin: int, end: int) -> ast.expr | None:
    """The expression that ends there and begins there; of a chain over several lines, whose positions begin at its
    last name, the innermost call that ends there."""
    ends = [
        node
        for node in parents_of(text)
        if isinstance(node, ast.expr) and (node.end_lineno, node.end_col_offset) == (end_line, end)
    ]
    exact = [node for node in ends if (node.lineno, node.col_offset) == (line, begin)]
    return exact[0] if exact else next((node for node in ends if isinstance(node, ast.Call | ast.Attribute)), None)


@lru_cache(maxsize=16)
def parents_of(text: str) -> dict[ast.AST, ast.AST]:
    """Of each part of a file what it is part of; empty for what is no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def _characters(line: str, offset: int) -> int:
    return len(line.encode()[:offset].decode())


def statement_of(place: Place) -> ast.stmt | None:
    """The statement in which the expression stands."""
    return next((node for node in place.around() if isinstance(node, ast.stmt)), None)


def dedented(place: Place, block: ast.With) -> Iterator[Edit]:
    """The edit that leaves a block's body and takes its head away; none where the lines don't allow it."""
    first, last = block.body[0], block.body[-1]
    lines = place.text.split("\n")[first.lineno - 1 : last.end_lineno]
    extra = first.col_offset - block.col_offset
    if first.lineno == block.lineno or any(line[:extra].strip() for line in lines):
        return
    moved = "\n".join(line[extra:] for line in lines)
    body = ast.unparse(ast.parse(textwrap.dedent(moved)))
    if body == ast.unparse(ast.Module(block.body, [])):  # a text over several lines would have been changed
        yield place.edit(block, moved[block.col_offset :])
