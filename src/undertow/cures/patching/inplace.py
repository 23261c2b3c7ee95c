"""Edits in place: the very calls that made what the cure changed make the changed thing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import libcst as cst
import torch
from torch import nn
from torch.optim import Optimizer

from undertow.cures.patching.arguments import argument, set_argument, starred
from undertow.cures.patching.draws import expression
from undertow.cures.patching.text import Change, File
from undertow.cures.patching.tracing import Site, Trace
from undertow.cures.patching.writing import Edits, class_base, module_code, number, resolved, written
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training

FIELDS = list(inspect.signature(Training).parameters)
Replaced = dict[str, tuple[nn.Module, nn.Module]]


def in_place(file: File, trace: Trace, before: Training, after: Training, edits: tuple[Edit, ...]) -> Edits:
    """Every edit in place that is clear; what the cure changes besides is left to lines that are inserted."""
    found = source_edits(file, edits)
    found += module_edits(file, trace, before.model, after.model)
    found += optimizer_edits(file, trace, before.optimizer, after.optimizer)
    found += argument_edits(file, trace, before, after)
    return found


def source_edits(file: File, edits: tuple[Edit, ...]) -> Edits:
    """Those that the trial compiled, as far as they are of this file."""
    lines = file.text.split("\n")

    def place(line: int, column: int) -> int:
        return len("\n".join([*lines[: line - 1], lines[line - 1][:column]]).encode())

    changes = [
        Change(place(e.line, e.column), place(e.end_line, e.end_column), e.new)
        for e in sorted(set(edits))
        if str(file.path) == e.file
    ]
    return Edits(changes)


def module_edits(file: File, trace: Trace, before: nn.Module, after: nn.Module) -> Edits:
    """`nn.Sigmoid()` → `nn.ReLU()`, where all that the call made is changed, and to the same."""
    replaced = _replaced(before, after)
    if not replaced:
        return Edits()
    sites: dict[int, tuple[Site, list[str]]] = {}
    for path in replaced:
        site = trace.site(trace.training.model.get_submodule(path))
        if site is None:
            return Edits()
        sites.setdefault(id(site), (site, []))[1].append(path)
    found = Edits()
    for site, paths in sites.values():
        one = _site_edits(file, trace, site, paths, replaced)
        if not one:
            return Edits()
        found += one
    return found


def _replaced(before: nn.Module, after: nn.Module) -> Replaced:
    """The modules that are others, by path; empty where the models differ in another way."""
    found: Replaced = {}

    def walk(path: str, old: nn.Module, new: nn.Module) -> bool:
        if type(old).__qualname__ != type(new).__qualname__ or (not old._modules and repr(old) != repr(new)):
            found[path] = (old, new)
            return bool(path)
        if list(old._modules) != list(new._modules):
            return False
        pairs = ((name, m, new._modules[name]) for name, m in old._modules.items())
        return all(walk(f"{path}.{n}".lstrip("."), o, c) for n, o, c in pairs if o is not None and c is not None)

    return found if walk("", before, after) else {}


def _site_edits(file: File, trace: Trace, site: Site, paths: list[str], replaced: Replaced) -> Edits:
    ids = {id(trace.training.model.get_submodule(path)) for path in paths}
    old, new = replaced[paths[0]]
    if not all(id(made) in ids for made in site.made) or len({repr(replaced[path][1]) for path in paths}) > 1:
        return Edits()
    call = site.call
    if resolved(call.func, site.names) is type(old) and _says(call.func, type(old).__name__):
        return _call_edits(file, site, old, new)
    return _reference_edits(file, trace, type(old), new)


def _says(node: cst.BaseExpression, name: str) -> bool:
    return (node.attr if isinstance(node, cst.Attribute) else node).value == name  # type: ignore[attr-defined]


def _call_edits(file: File, site: Site, old: nn.Module, new: nn.Module) -> Edits:
    call, code = site.call, file.code(site.call.with_changes(lpar=[], rpar=[]))
    base, imports = class_base(call.func, _torch_class(new), site.names, file)
    text = module_code(new, base, old, code)
    if text is None and getattr(nn, type(new).__name__, None) is type(new):
        # A constructor that doesn't say what it takes: another kind of the same family takes the same.
        start, end = file.span(call.func)
        text = f"{base}.{type(new).__name__}{file.data[end : file.span(call)[1]].decode()}"
    if text is None:
        return Edits()
    start, end = file.span(call)
    drawn = any(True for module in (old, new) for _ in module.parameters())
    change = Change(start, end, text, expression(code, text) if drawn else None)
    return Edits([change, *_import_edits(file, call.func, text)], imports)


def _torch_class(module: nn.Module) -> type:
    return type(module) if type(module).__module__.startswith("torch.") else nn.Sequential


def _reference_edits(file: File, trace: Trace, old: type, new: nn.Module) -> Edits:
    """`act=nn.Sigmoid` → `act=nn.ReLU`, where the file names the class once and calls it by another name."""
    kind = type(new)
    if getattr(nn, kind.__name__, None) is not kind or module_code(new, "nn") != f"nn.{kind.__name__}()":
        return Edits()
    places = list(_references(file, trace.globals, old))
    if len(places) != 1:
        return Edits()
    base, imports = class_base(places[0], kind, trace.globals, file)
    return Edits([file.replaced(places[0], f"{base}.{kind.__name__}")], imports)


def _references(file: File, names: Mapping[str, Any], kind: type) -> Iterator[cst.BaseExpression]:
    for name in file.names():
        whole: cst.BaseExpression = name
        for above in file.around(name):
            if not isinstance(above, cst.Attribute):
                break
            whole = above
        if resolved(whole, names) is kind:
            yield whole


def _import_edits(file: File, used: cst.BaseExpression, text: str) -> list[Change]:
    """Takes a name out of its import that nothing else in the file uses: `from torch.nn import Linear, Sigmoid`."""
    if not isinstance(used, cst.Name) or sum(n.value == used.value for n in file.names()) != 1 or used.value in text:
        return []
    for line in file.tree.body:
        for statement in line.body if isinstance(line, cst.SimpleStatementLine) else ():
            if isinstance(statement, cst.ImportFrom) and not isinstance(statement.names, cst.ImportStar):
                found = [i for i, alias in enumerate(statement.names) if _bound(alias) == used.value]
                if found:
                    return [_without(file, line, statement.names, found[0])]
    return []


def _bound(alias: cst.ImportAlias) -> str:
    name = alias.asname.name if alias.asname else alias.name
    return name.value if isinstance(name, cst.Name) else ""


def _without(file: File, line: cst.CSTNode, aliases: Any, index: int) -> Change:
    if len(aliases) == 1:
        start, end = file.span(line)
        return Change(start, end + len(file.tree.default_newline), "")
    if index + 1 < len(aliases):
        return Change(file.span(aliases[index])[0], file.span(aliases[index + 1])[0], "")
    return Change(file.span(aliases[index - 1])[1], file.span(aliases[index])[1], "")


def optimizer_edits(file: File, trace: Trace, before: Optimizer, after: Optimizer) -> Edits:
    """Another class, rate or setting in the call that made an optimizer of one group."""
    site = trace.site(trace.training.optimizer)
    if site is None or len(before.param_groups) != 1 or len(after.param_groups) != 1 or starred(site.call):
        return Edits()
    if resolved(site.call.func, site.names) is not type(before):
        return Edits()
    if type(before) is not type(after):
        return _another_optimizer(file, site, after)
    old, new = before.param_groups[0], after.param_groups[0]
    order = list(inspect.signature(type(before)).parameters)
    changed = {key: new[key] for key in order if key in new and key != "params" and new[key] != old.get(key)}
    return Edits([set_argument(file, site.call, key, order.index(key), number(v)) for key, v in changed.items()])


def _another_optimizer(file: File, site: Site, after: Optimizer) -> Edits:
    """Over the same parameters, with what the cured one has beside its defaults."""
    call, kind, group = site.call, type(after), after.param_groups[0]
    parameters = argument(call, "params", 0)
    if parameters is None or getattr(torch.optim, kind.__name__, None) is not kind:
        return Edits()
    base, imports = class_base(call.func, kind, site.names, file)
    words = _settings(after)
    rate = argument(call, "lr", 1)
    found = Edits([], imports)
    if rate is not None:  # where the rate is a constant of the file it stays one
        change = set_argument(file, call, "lr", 1, number(group["lr"]))
        if not file.span(call)[0] <= change.start < file.span(call)[1]:
            found.changes.append(change)
            words = [f"lr={file.code(rate.value)}" if word.startswith("lr=") else word for word in words]
    text = f"{base}.{kind.__name__}({', '.join([file.code(parameters.value), *words])})"
    found.changes += [file.replaced(call, text), *_import_edits(file, call.func, text)]
    return found


def optimizer_code(optimizer: Optimizer, model: nn.Module) -> str | None:
    """The call that makes an optimizer of one group over the whole model; None for another."""
    kind, groups = type(optimizer), optimizer.param_groups
    whole = {id(p) for p in model.parameters()}
    if len(groups) != 1 or {id(p) for p in groups[0]["params"]} != whole:
        return None
    if getattr(torch.optim, kind.__name__, None) is not kind:
        return None
    return f"torch.optim.{kind.__name__}({', '.join(['model.parameters()', *_settings(optimizer)])})"


def _settings(optimizer: Optimizer) -> list[str]:
    """Of the first group, as keywords: the rate, and what is not the class's default."""
    group = optimizer.param_groups[0]
    return [
        f"{name}={number(group[name])}"
        for name, p in inspect.signature(type(optimizer)).parameters.items()
        if name in group and name != "params" and (name == "lr" or group[name] != p.default)
    ]


def argument_edits(file: File, trace: Trace, before: Training, after: Training) -> Edits:
    """`clip=1.0` and the like in the call of Training."""
    site = trace.site(trace.training)
    if site is None:
        return Edits()
    found = Edits()
    for field in ("clip", "loss"):
        old, new = getattr(before, field), getattr(after, field)
        if _told(old) != _told(new) and (code := written(new)) is not None:
            found.changes.append(set_argument(file, site.call, field, FIELDS.index(field), code[0]))
            found.imports += code[1]
    return found


def _told(value: Any) -> Any:
    """What tells a value from another although it was copied."""
    code = written(value)
    return code if code is not None else getattr(value, "__qualname__", type(value).__qualname__)
