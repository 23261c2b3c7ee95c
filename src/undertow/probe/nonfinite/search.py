"""One pass run with a look at every torch call: which call first made a value that is not finite."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from undertow.native import statistics
from undertow.native.statistics import stored
from undertow.probe.tracing.entries import merged
from undertow.probe.tracing.trace import Trace
from undertow.record import Reading
from undertow.record.operations import operation_name

Value = Literal["nan", "inf"]


@dataclass(eq=False)
class Call:
    """One torch call of the pass, or a tensor that was there before it (`number` 0)."""

    site: str
    operation: str
    source: str | None = None
    value: Value = "nan"
    number: int = 0
    reading: Reading | None = None


@dataclass(frozen=True)
class Given:
    """What an operation was given, as an `Origin` tells it: the readings and the ranges of some tensors."""

    inputs: tuple[Reading, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Given:
        readable = [t for t in tensors if _readable(t)]
        return cls(readings(readable), tuple(map(_range, readable)))

    @property
    def together(self) -> Given:
        """As if all of it were one tensor."""
        sound = [r for r in self.ranges if r[0] <= r[1]] or [(math.nan, math.nan)]
        low, high = min(r[0] for r in sound), max(r[1] for r in sound)
        return Given((merged(list(self.inputs)),), ((low, high),))

    def __add__(self, other: Given) -> Given:
        return Given(self.inputs + other.inputs, self.ranges + other.ranges)


@dataclass(eq=False)
class Bad:
    """A tensor with values that are not finite; `root` is the call that made them, None where they were written."""

    tensor: Tensor
    value: Value
    root: Call | None


class Search(TorchFunctionMode):
    """Follows values that are not finite through the calls of a pass; `wanted` is a call whose operands are read."""

    def __init__(self, model: nn.Module, wanted: int = 0) -> None:
        super().__init__()
        self.trace = Trace(model)
        self.wanted, self.number = wanted, 0
        self.operands = Given()
        self.made: Reading | None = None
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
                self.operands = Given.of(operands)
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
        if call.number == self.wanted and made:
            self.made = merged(list(readings(made)))
        for tensor in made:
            value = value_of(tensor)
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
            value = value_of(tensor)
            if value is not None:
                known = self._bad.get(id(tensor))
                yield known if known is not None else Bad(tensor, value, self._first_seen(tensor, value))

    def _first_seen(self, tensor: Tensor, value: Value) -> Call | None:
        """A tensor that no call made: from outside, or from an autograd.Function, which is no torch call."""
        if value == "inf" and not bool((tensor == math.inf).any()):
            return None  # -inf alone is a mask
        if tensor.grad_fn is not None:
            name = tensor.grad_fn.name().removesuffix("Backward")
            return Call(f"{self._path}:{name}", name, value=value, reading=readings([tensor])[0])
        site, operation = self._names.get(id(tensor), ("input", "input"))
        return Call(site, operation, value=value, reading=readings([tensor])[0])


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


def run(search: Search, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The output of the searched model."""
    search.given = {id(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
    with search.trace.watching(), search:
        return search.trace.model(*args, **kwargs)


def _tensors(tree: Any) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor) and _readable(t)]


def _readable(tensor: Tensor) -> bool:
    functorch = torch._C._functorch  # pyright: ignore
    return tensor.is_floating_point() and not tensor.is_meta and not functorch.is_functorch_wrapped_tensor(tensor)


def readings(tensors: Any) -> tuple[Reading, ...]:
    return tuple(Reading(*statistics(t)) for t in tensors if _readable(t))


def value_of(tensor: Tensor) -> Value | None:
    if not _readable(tensor):
        return None
    values = tensor.detach()
    values = values.coalesce().values() if values.is_sparse else values
    if bool(values.isfinite().all()):
        return None
    return "nan" if bool(values.isnan().any()) else "inf"


def _range(tensor: Tensor) -> tuple[float, float]:
    """Smallest and largest value; NaN where there is no number."""
    values, unstored = stored(tensor)
    values = values.float() if values.itemsize == 1 else values  # float8 has no order in torch
    numbers = values[values.isnan().logical_not()]
    if not len(numbers):
        return (0.0, 0.0) if unstored else (math.nan, math.nan)
    low, high = (t.item() for t in numbers.aminmax())
    return (min(low, 0.0), max(high, 0.0)) if unstored else (low, high)


def first_value(tensors: Iterable[Tensor | None]) -> Value | None:
    for tensor in tensors:
        value = None if tensor is None else value_of(tensor)
        if value is not None:
            return value
    return None


def _line() -> str | None:
    """`file.py:12` of the innermost frame of the pass that is neither torch's nor ours."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not run.__code__:
        if not frame.f_globals.get("__name__", "").startswith(("torch", "undertow", "contextlib")):
            return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return None
