"""Graphs of models and functions by torch.fx, which leave no trace on what they trace."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node, Tracer

from undertow.activations.recognition.modules import of_module


class Untraceable(Exception):
    """torch.fx can't follow this Python code; the message says why."""


def traced(root: nn.Module | Callable[..., Any]) -> GraphModule:
    """The graph of a module's forward or a function; modules of torch.nn and activations are one node each.

    Raises
    ------
    Untraceable
        Where the code asks a tensor for more than torch.fx knows before it runs: a branch on values, a length.
    """
    tracer = _Tracer()
    try:
        with _unchanged(root):
            graph = tracer.trace(root)
            return GraphModule(tracer.root, graph)
    except Exception as error:  # the user's own code runs on proxies here, and may raise anything
        line = (str(error).strip().splitlines() or [""])[0]
        raise Untraceable(f"{type(error).__name__}: {line}".removesuffix(": ")) from error


class _Tracer(Tracer):
    proxy_buffer_attributes = True  # else a counter that the forward adds to would count

    def create_node(self, *args: Any, **kwargs: Any) -> Node:
        node = super().create_node(*args, **kwargs)
        node.meta[_LINE] = _line()  # torch.fx can record the whole stack, but imports the compiler to do so: seconds
        return node

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = type(m).__module__.startswith("undertow.")  # no function is called in them, and they look at gradients
        return ours or super().is_leaf_module(m, module_qualified_name) or of_module(m) is not None


_REGISTERED = "_parameters", "_buffers", "_modules"


@contextmanager
def _unchanged(root: object) -> Iterator[None]:
    """A forward that keeps something on its module would keep a proxy there; and noise would move the generator."""
    modules = list(root.modules()) if isinstance(root, nn.Module) else []
    before = [(m, dict(vars(m)), {name: dict(vars(m)[name]) for name in _REGISTERED}) for m in modules]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, attributes, registered in before:
            vars(module).clear()
            vars(module).update(attributes)
            for name, held in registered.items():
                attributes[name].clear()
                attributes[name].update(held)


def path_of(node: Node) -> str:
    """The module in whose forward a node was written."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


_TORCH = str(Path(torch.__file__).parent)
_LINE = "undertow_line"


def _line() -> str:
    """`model.py:12` of the innermost frame of the traced code, "" where all of it is torch's."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != __file__:
        if not frame.f_code.co_filename.startswith(_TORCH):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of(node: Node) -> str:
    """`model.py:12`, where a node was written; "" where the trace doesn't know."""
    if _LINE in node.meta:
        return node.meta[_LINE]
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")  # of torch.export
    own = [(file, line) for file, line in frames if not file.startswith(_TORCH)]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""
