"""The truth of a forward and backward pass: `torch.autograd.grad` of every tensor, with none of our code in it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from undertow.record import Entry, Ledger


@dataclass(eq=False)
class Call:
    """One torch function that ran inside the model: its results' places in the graph, and their size."""

    name: str
    edges: list[GradientEdge]
    count: int
    forward: float
    backward: float | None = None


class _Watcher(TorchFunctionMode):
    """Keeps every floating result that takes a gradient, by its place in the graph: in-place use does not move it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.inside and torch.is_grad_enabled():
            found = [t for t in tree_leaves(out) if isinstance(t, Tensor) and _takes_gradient(t)]
            if found:
                edges = [GradientEdge(t.grad_fn, t.output_nr) for t in found]  # pyright: ignore[reportArgumentType]
                count = sum(t.numel() for t in found)
                self.calls.append(Call(getattr(func, "__name__", "").strip("_"), edges, count, rms(found)))
        return out


def _takes_gradient(t: Tensor) -> bool:
    functorch = torch._C._functorch.is_functorch_wrapped_tensor(t)  # type: ignore[attr-defined]
    return t.requires_grad and t.grad_fn is not None and t.is_floating_point() and not functorch


def rms(tensors: list[Tensor]) -> float:
    """Over the finite values of all, in float64."""
    with torch.no_grad():
        values = torch.cat([t.detach().double().flatten() for t in tensors])
        return values[values.isfinite()].square().mean().sqrt().item()


@dataclass(frozen=True)
class Truth:
    """All calls inside the model with the size of their gradients, and the gradients of the parameters."""

    calls: tuple[Call, ...]
    parameters: dict[str, float | None]


def truth(model: nn.Module, loss: Any) -> Truth:
    """One pass of `loss()` through the model and back."""
    watcher = _Watcher()
    enter = model.register_forward_pre_hook(lambda *_: setattr(watcher, "inside", True))
    leave = model.register_forward_hook(lambda *_: setattr(watcher, "inside", False))
    compiled = hasattr(model, "_orig_mod")
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext(), watcher:
        value = loss()  # a lazy module has parameters from here on
    enter.remove()
    leave.remove()
    calls = watcher.calls
    named = {name.removeprefix("_orig_mod."): p for name, p in model.named_parameters() if p.requires_grad}
    targets = [*(e for c in calls for e in c.edges), *named.values()]
    gradients = list(torch.autograd.grad(value, targets, allow_unused=True))
    for call in calls:
        found = [g for g in (gradients.pop(0) for _ in call.edges) if g is not None]
        call.backward = rms([_dense(g) for g in found]) if found else None
    sizes = {n: None if g is None else rms([_dense(g)]) for n, g in zip(named, gradients, strict=True)}
    return Truth(tuple(calls), sizes)


def _dense(g: Tensor) -> Tensor:
    return g.coalesce().values() if g.is_sparse else g


CLOSE = 1e-6
"""Forward sizes of one tensor, measured twice: what tells which call a site is."""


@dataclass(frozen=True)
class Comparison:
    """A ledger against the truth."""

    error: float
    """The largest relative error of a backward value's rms."""
    worst: str
    unknown: tuple[str, ...]
    """Sites of the ledger that autograd does not know."""
    missed: tuple[str, ...]
    """Calls that take a gradient and are no site."""


def compare(ledger: Ledger, true: Truth) -> Comparison:
    """Finds each site among the calls, in their order, by name, count and forward size; then compares the gradients."""
    calls = [c for c in true.calls if c.backward is not None]
    taken: set[int] = set()
    position, error, worst, unknown = 0, 0.0, "", []
    for entry in ledger:
        found = _find(entry, calls, position)
        if found is None:
            unknown.append(entry.site.name)
            continue
        taken.add(found)
        position = found + 1
        off = relative(entry.backward_rms, calls[found].backward)
        if off > error:
            error, worst = off, entry.site.name
    missed = tuple(c.name for i, c in enumerate(calls) if i not in taken)
    return Comparison(error, worst, tuple(unknown), missed)


def _find(entry: Entry, calls: list[Call], position: int) -> int | None:
    """A module that is one activation ends in a call of another name: the last one of this size."""
    fits = [
        i
        for i in range(position, len(calls))
        if calls[i].count == entry.forward.count and relative(entry.forward_rms, calls[i].forward) < CLOSE
    ]
    named = [i for i in fits if calls[i].name == entry.site.operation]
    return next(iter(named or fits), None)


def relative(a: float, b: float | None) -> float:
    if b is None:
        return float("inf")
    if a == b or (a != a and b != b):
        return 0.0
    return abs(a - b) / abs(b) if b else float("inf")
