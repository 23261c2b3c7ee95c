"""Where the first value that is not finite arose: one pass run again with a look at every call and every node.

An infinity that is written (a mask of -inf) is no fault, nor is one that nothing carries on: the search starts from
what went wrong, the model's output or a gradient, and goes back to the call that first made it so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from undertow.native import statistics
from undertow.probe.operations import operation_name
from undertow.probe.trace import Trace
from undertow.record import Origin, Reading

Value = Literal["nan", "inf"]


class Pass(Protocol):
    """A forward pass that was kept (see `probe.witness`)."""

    @property
    def gradients(self) -> dict[int, Tensor]: ...
    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def setting(self) -> AbstractContextManager[None]: ...


@dataclass(eq=False)
class Call:
    """One torch call of the pass, or a tensor that was there before it (`number` 0)."""

    site: str
    operation: str
    source: str | None = None
    value: Value = "nan"
    number: int = 0


@dataclass(eq=False)
class Bad:
    """A tensor with values that are not finite; `root` is the call that made them, None where they were written."""

    tensor: Tensor
    value: Value
    root: Call | None


@dataclass(eq=False)
class Fault:
    """A node of the backward pass: finite values came in and others went out."""

    node: Any
    value: Value
    incoming: Reading


def origin_of(twin: nn.Module, kept: Pass, step: int) -> Origin | None:
    """The first value of a pass that is not finite; None where all are finite.  Uses up `twin`'s gradients.

    Parameters
    ----------
    twin:
        A replica of the model (see `probe.replica`), with the weights of the step.
    kept:
        The pass; without a gradient that came in at its output, one of random values is sent.
    step:
        For the origin.
    """
    with kept.setting():
        search = Search(twin)
        output = _run(search, kept)
        outputs = {i: t for i, t in enumerate(tree_leaves(output)) if isinstance(t, Tensor)}
        root = next((b.root for t in outputs.values() if (b := search.known(t)) is not None and b.root), None)
        if root is not None:
            operands = _operands(twin, kept, root) if root.number else ()
            return Origin(step, root.site, root.operation, "forward", root.value, root.source, operands)
        given = kept.gradients or _random_gradients(outputs)
        value = _first_value(given.values())
        if value is not None:
            return Origin(step, "loss", "loss", "backward", value, None, _readings(outputs.values()))
        fault = _backward(outputs, given)
        for parameter in twin.parameters():
            parameter.grad = None
        if fault is None:
            outside = Origin(step, "loss", "loss", "backward", "nan", None, (), exact=False)
            return None if kept.gradients else outside
        call = search.nodes.get(fault.node) or Call("forward", fault.node.name().removesuffix("Backward"))
    inputs = (fault.incoming, *(_operands(twin, kept, call) if call.number else ()))
    exact = bool(kept.gradients)
    return Origin(step, call.site, call.operation, "backward", fault.value, call.source, inputs, exact)


def _run(search: Search, kept: Pass) -> Any:
    args, kwargs = kept.inputs()
    search.given = {id(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
    with search.trace.watching(), search:
        return search.trace.model(*args, **kwargs)


def _operands(twin: nn.Module, kept: Pass, call: Call) -> tuple[Reading, ...]:
    """What the call was given: read in one more run, just before it, since it may overwrite them."""
    with kept.setting():
        search = Search(twin, call.number)
        _run(search, kept)
    return search.operands


class Search(TorchFunctionMode):
    """Follows values that are not finite through the calls of a pass; `wanted` is a call whose operands are read."""

    def __init__(self, model: nn.Module, wanted: int = 0) -> None:
        super().__init__()
        self.trace = Trace(model)
        self.wanted, self.number = wanted, 0
        self.operands: tuple[Reading, ...] = ()
        self.nodes: dict[Any, Call] = {}
        self.given: set[int] = set()
        self._bad: dict[int, Bad] = {}
        self._names = {id(p): (n, "parameter") for n, p in model.named_parameters()}
        self._names |= {id(b): (n, "buffer") for n, b in model.named_buffers()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.number += 1
        operands = _tensors((args, kwargs))
        with torch._C.DisableTorchFunction():
            before = list(self._among(operands))
            if self.number == self.wanted:
                self.operands = _readings(operands)
        seen = len(self.trace.operations)
        output = func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            self._look(Call(*self._place(func, seen), _line(), number=self.number), before, (args, kwargs), output)
        return output

    def known(self, tensor: Tensor) -> Bad | None:
        found = self._bad.get(id(tensor))
        return found or next(self._among([tensor]), None)

    def _place(self, function: Any, seen: int) -> tuple[str, str]:
        """The site as the ledger names it, where it has one."""
        name = operation_name(function)
        if len(self.trace.operations) > seen:
            site = self.trace.operations[-1].site
            return site.label, site.operation
        return f"{self._path}:{name}", name

    @property
    def _path(self) -> str:
        stack = self.trace._stack
        return (stack[-1].path if stack else "") or "forward"

    def _look(self, call: Call, before: list[Bad], given: Any, output: Any) -> None:
        made = _tensors(output) if output is not None else _tensors(given)[:1]  # x[mask] = -inf returns nothing
        for tensor in made:
            value = _value(tensor)
            if value is None:
                self._bad.pop(id(tensor), None)
            else:
                call.value = value
                self._bad[id(tensor)] = Bad(tensor, value, _root(call, value, before, given))
            self._claim(tensor.grad_fn, call)

    def _claim(self, node: Any, call: Call) -> None:
        """The nodes that this call made."""
        todo = [node]
        while todo:
            node = todo.pop()
            if node is not None and node not in self.nodes:
                self.nodes[node] = call
                todo += [n for n, _ in node.next_functions]

    def _among(self, tensors: list[Tensor]) -> Iterator[Bad]:
        for tensor in tensors:
            value = _value(tensor)
            if value is not None:
                known = self._bad.get(id(tensor))
                yield known if known is not None else Bad(tensor, value, self._first_seen(tensor, value))

    def _first_seen(self, tensor: Tensor, value: Value) -> Call | None:
        """A tensor that no call made: from outside, or from an autograd.Function, which is no torch call."""
        if value == "inf" and not bool((tensor == math.inf).any()):
            return None  # -inf alone is a mask
        if tensor.grad_fn is not None:
            name = tensor.grad_fn.name().removesuffix("Backward")
            return Call(f"{self._path}:{name}", name, value=value)
        site, operation = self._names.get(id(tensor), ("input", "input"))
        return Call(site, operation, value=value)


def _root(call: Call, value: Value, before: list[Bad], given: Any) -> Call | None:
    """NaN comes from a NaN; else from an infinity that something computed; else it arises here."""
    before = [b for b in before if b.root is None or b.root.operation != "buffer"] or before  # may be of this pass
    same = next((b for b in before if b.value == value == "nan"), None)
    if same is not None:
        return same.root
    computed = next((b.root for b in before if b.root is not None), None)
    if computed is not None or (before and value == "inf"):
        return computed
    written = value == "inf" and any(isinstance(v, float) and not math.isfinite(v) for v in tree_leaves(given))
    return None if written else call


def _backward(outputs: dict[int, Tensor], given: dict[int, Tensor]) -> Fault | None:
    """Sends the gradients in and listens at every node for the first one that makes a value that is not finite."""
    found: list[Fault] = []

    def listen(node: Any) -> Any:
        def hook(outgoing: tuple[Tensor | None, ...], incoming: tuple[Tensor | None, ...]) -> None:
            if found:
                return
            came = [g for g in incoming if g is not None]
            value = _first_value((*came, *outgoing))
            if value is not None:
                found.append(Fault(node, value, _readings(came[:1])[0]))

        return hook

    tensors = [outputs[i] for i in given]
    handles = [node.register_hook(listen(node)) for node in _reachable(t.grad_fn for t in tensors)]
    try:
        torch.autograd.backward(tensors, list(given.values()))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _reachable(nodes: Iterator[Any]) -> set[Any]:
    seen: set[Any] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [n for n, _ in node.next_functions]
    return seen


def _random_gradients(outputs: dict[int, Tensor]) -> dict[int, Tensor]:
    return {i: torch.randn_like(t) / t.numel() for i, t in outputs.items() if t.requires_grad and t.numel()}


def _tensors(tree: Any) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor) and _readable(t)]


def _readable(tensor: Tensor) -> bool:
    functorch = torch._C._functorch  # pyright: ignore
    return tensor.is_floating_point() and not tensor.is_meta and not functorch.is_functorch_wrapped_tensor(tensor)


def _readings(tensors: Any) -> tuple[Reading, ...]:
    return tuple(Reading(*statistics(t)) for t in tensors if _readable(t))


def _value(tensor: Tensor) -> Value | None:
    if not _readable(tensor):
        return None
    values = tensor.detach()
    values = values.coalesce().values() if values.is_sparse else values
    if bool(values.isfinite().all()):
        return None
    return "nan" if bool(values.isnan().any()) else "inf"


def _first_value(tensors: Iterable[Tensor | None]) -> Value | None:
    for tensor in tensors:
        value = None if tensor is None else _value(tensor)
        if value is not None:
            return value
    return None


def _line() -> str | None:
    """`file.py:12` of the innermost frame of the pass that is neither torch's nor ours."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not _run.__code__:
        if not frame.f_globals.get("__name__", "").startswith(("torch", "undertow", "contextlib")):
            return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return None
