"""Arguments of a call in the user's file: found, replaced, added."""

from __future__ import annotations

import libcst as cst

from undertow.cures.patching.text import Change, File


def argument(call: cst.Call, name: str, index: int | None) -> cst.Arg | None:
    """By keyword, else by position; None where it is not given, or hidden behind a *."""
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == name:
            return arg
    if index is None or index >= len(call.args) or any(arg.star for arg in call.args[: index + 1]):
        return None
    return call.args[index] if call.args[index].keyword is None else None


def starred(call: cst.Call) -> bool:
    return any(arg.star for arg in call.args)


def set_argument(file: File, call: cst.Call, name: str, index: int | None, text: str) -> Change:
    """The change that gives an argument this value: in its place, in that of the constant which it names and nothing
    else does, or as a keyword after the last one."""
    given = argument(call, name, index)
    if given is not None:
        return file.replaced(constant(file, given.value) or given.value, text)
    if not call.args:
        end = file.span(call)[1] - 1
        return Change(end, end, f"{name}={text}")
    start, end = file.span(call.args[-1])
    indent = file.indent(start)  # each argument in a line of its own stays so
    return Change(end, end, f", {name}={text}" if indent is None else f",\n{indent}{name}={text}")


def constant(file: File, node: cst.BaseExpression) -> cst.BaseExpression | None:
    """The literal of a constant of the file that is used here and nowhere else."""
    if not isinstance(node, cst.Name) or sum(name.value == node.value for name in file.names()) != 2:
        return None
    for line in file.tree.body:
        if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
            assign = line.body[0]
            if (
                isinstance(assign, cst.Assign)
                and len(assign.targets) == 1
                and isinstance(target := assign.targets[0].target, cst.Name)
                and target.value == node.value
                and isinstance(assign.value, cst.BaseNumber | cst.UnaryOperation)
            ):
                return assign.value
    return None
