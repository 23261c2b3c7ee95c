"""Objects as the code that makes them, in the words that the user's file has for them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial
from importlib import import_module
from typing import Any

import libcst as cst
import torch
from torch import nn

from undertow.cures.patching.text import Change, File

PLAIN = (bool, int, float, str, type(None))
HOMES = {"nn": nn, "nn.functional": nn.functional, "nn.utils": nn.utils, "nn.init": nn.init, "torch": torch}
"""Where code names the functions and classes of torch, by how it begins."""


@dataclass
class Edits:
    """Changes of a file, and the imports that what they write needs."""

    changes: list[Change] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)

    def __iadd__(self, other: Edits) -> Edits:
        self.changes += other.changes
        self.imports += other.imports
        return self

    def __bool__(self) -> bool:
        return bool(self.changes)


def number(value: Any) -> str:
    """0.1 · 0.1 is written 0.01: twelve digits are more than anybody chose."""
    if isinstance(value, float):
        return repr(float(f"{value:.12g}"))
    if isinstance(value, tuple):
        return f"({', '.join(map(number, value))}{',' * (len(value) == 1)})"
    return repr(value)


def written(value: Any) -> tuple[str, list[str]] | None:
    """The expression that makes this value, and the imports that it needs; None where it is not of a kind known here:
    a number, a function with a name, a `functools.partial` of one, a layer or loss of torch's, a dataclass."""
    if isinstance(value, PLAIN):
        return number(value), []
    if isinstance(value, partial):
        return _written_partial(value)
    if isinstance(value, nn.Module):
        text = module_code(value, "nn")
        return (text, ["from torch import nn"]) if text else None
    if is_dataclass(value) and not isinstance(value, type):
        return _written_dataclass(value)
    return _written_name(value)


def _written_name(value: Any) -> tuple[str, list[str]] | None:
    name = getattr(value, "__name__", "")
    for home, module in HOMES.items():
        if name and getattr(module, name, None) is value:
            return f"{home}.{name}", ["import torch" if home == "torch" else "from torch import nn"]
    home = getattr(value, "__module__", None)
    if not home or not name.isidentifier() or getattr(import_module(home), name, None) is not value:
        return None
    return name, [f"from {home} import {name}"]


def _written_partial(value: partial[Any]) -> tuple[str, list[str]] | None:
    function = _written_name(value.func)
    given = [(word, written(v)) for word, v in value.keywords.items()]
    if function is None or value.args or any(text is None for _, text in given):
        return None
    words = "".join(f", {word}={text[0]}" for word, text in given if text)
    imports = [line for _, text in given if text for line in text[1]]
    return f"partial({function[0]}{words})", ["from functools import partial", *function[1], *imports]


def _written_dataclass(value: Any) -> tuple[str, list[str]] | None:
    kind = _written_name(type(value))
    given = {f.name: getattr(value, f.name) for f in fields(value) if f.init and getattr(value, f.name) != _default(f)}
    if kind is None or not all(isinstance(v, PLAIN) for v in given.values()):
        return None
    return f"{kind[0]}({', '.join(f'{name}={number(v)}' for name, v in given.items())})", kind[1]


def _default(each: Any) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def module_code(new: nn.Module, base: str, old: nn.Module | None = None, old_code: str = "") -> str | None:
    """`base.ReLU()` for a layer of torch.nn; a Sequential by its parts, of which one may be the old module."""
    if old is not None and type(new) is type(old) and repr(new) == repr(old):
        return old_code
    if type(new) is nn.Sequential:
        parts = [module_code(part, base, old, old_code) for part in new]
        named = list(new._modules) == [str(i) for i in range(len(new))]
        return f"{base}.Sequential({', '.join(filter(None, parts))})" if named and all(parts) else None
    kind = type(new)
    if getattr(nn, kind.__name__, None) is not kind:
        return None
    given = _arguments(new)
    return None if given is None else f"{base}.{kind.__name__}({given})"


def _arguments(module: nn.Module) -> str | None:
    """Of the constructor, as far as they are not its defaults; None where they can't be read off the module."""
    words: list[str] = []
    by_name = False
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            return None
        value = getattr(module, name, parameter.default)
        known = _simple(value) and value is not parameter.empty
        if parameter.default is not parameter.empty and (not known or value == parameter.default):
            by_name = True
            continue
        if not known:
            return None
        value = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
        words.append(f"{name}={number(value)}" if by_name else number(value))
    return ", ".join(words)


def _simple(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(isinstance(v, PLAIN) for v in value))


def resolved(node: cst.BaseExpression, names: Mapping[str, Any]) -> Any:
    """What a name or a chain of attributes is; None where it is something else, or unknown."""
    if isinstance(node, cst.Name):
        return names.get(node.value)
    if isinstance(node, cst.Attribute):
        return getattr(resolved(node.value, names), node.attr.value, None)
    return None


def class_base(node: cst.BaseExpression, new: type, names: Mapping[str, Any], file: File) -> tuple[str, list[str]]:
    """What stands before the name of a class of torch beside the one that a node names, and the import for it:
    `nn` for ReLU where the file writes nn.Sigmoid."""
    if isinstance(node, cst.Attribute) and getattr(resolved(node.value, names), new.__name__, None) is new:
        return file.code(node.value), []
    if issubclass(new, torch.optim.Optimizer):
        return "torch.optim", ["import torch"]
    return "nn", ["from torch import nn"]
