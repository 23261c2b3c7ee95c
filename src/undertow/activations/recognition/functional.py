"""Activations that a model calls as functions: no module that could be replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType
from typing import NamedTuple

from torch import nn

from undertow.activations.base import Activation
from undertow.activations.recognition.graph import Match, recognise_graph
from undertow.activations.recognition.modules import of_module
from undertow.activations.recognition.recognise import recognise
from undertow.activations.recognition.tracing import Untraceable, traced


class FunctionalCall(NamedTuple):
    """An activation in the forward of a module, "" for the model's own."""

    path: str
    definition: Activation
    where: str
    """`model.py:12` where the trace knows, or the attribute that holds the function."""


class Unseen(NamedTuple):
    """A module whose forward torch.fx can't follow."""

    path: str
    reason: str


@dataclass
class Functional:
    """What a look at every forward found."""

    calls: list[FunctionalCall] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)


def functional_calls(model: nn.Module) -> Functional:
    """The activations that a model calls as functions, from the largest parts of it that torch.fx can trace."""
    found = Functional()
    _look(model, "", found, set())
    return found


def _look(module: nn.Module, path: str, found: Functional, seen: set[nn.Module]) -> None:
    if module in seen or of_module(module) is not None or type(module).__module__.startswith("undertow."):
        return
    seen.add(module)
    if _is_layer_of_torch(module):
        found.calls += _held(module, path)
    elif type(module).forward is not nn.Module.forward:  # a ModuleList has none
        try:
            graph = traced(module)
        except Untraceable as error:
            found.unseen.append(Unseen(path, str(error)))
            found.calls += _held(module, path)
        else:
            found.calls += [_called(match, path) for match in recognise_graph(graph) if not _is_module(match)]
            for name, inner in module.named_modules(prefix=path):
                if _is_layer_of_torch(inner):  # one node of the graph
                    found.calls += _held(inner, name)
            return
    for name, child in module.named_children():
        _look(child, f"{path}.{name}" if path else name, found, seen)


def _is_layer_of_torch(module: nn.Module) -> bool:
    home = type(module).__module__
    return home.startswith("torch.nn.") and not home.endswith(".container")


def _is_module(match: Match) -> bool:
    return match.nodes[-1].op == "call_module" and len(match.nodes) == 1


def _called(match: Match, path: str) -> FunctionalCall:
    return FunctionalCall(".".join(p for p in (path, match.path) if p), match.definition, match.line)


def _held(module: nn.Module, path: str) -> list[FunctionalCall]:
    """Functions that are attributes: `self.activation = F.relu`."""
    held = {n: f for n, f in vars(module).items() if isinstance(f, (FunctionType, BuiltinFunctionType))}
    known = [(name, recognise(function)) for name, function in held.items()]
    return [FunctionalCall(path, act, f".{name}") for name, act in known if act is not None]
