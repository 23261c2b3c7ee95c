"""Where values of a forward pass leave the graph, and whether they come back: a detach, a threshold, an argmax."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from undertow.foundation.calls import Calls
from undertow.probe.following.script import passed_on
from undertow.probe.tracing.trace import Guard, Trace
from undertow.record import Cut, Unreached
from undertow.record.names import named_parameters
from undertow.record.operations import PRODUCTS, WEIGHTS, is_weight, operation_name
from undertow.record.stack import user_line

WITHOUT_GRADIENTS = "no_grad"
LEAVES_TORCH = {"item", "tolist", "numpy", "float", "int", "array"}
ENTERS_TORCH = {"tensor", "as_tensor"}
UNSEEN_WAY = {"numpy", "array"}
"""No mode sees `torch.from_numpy`: a tensor that nothing in the pass has made may be what became of an array."""
MOST_CUTS = 512
"""A pass with more calls that cut would be slow to look through; the first ones are kept.  Ours."""
Key = tuple[str, str, str | None]
NOTHING: frozenset[Key] = frozenset()


@dataclass(eq=False)
class _Cut:
    """A call that has cut; what it was given is known by its nodes and parameters."""

    told: Cut
    nodes: list[Any] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)
    comes_back: bool = False


class Cuts:
    """Listens to one traced forward pass.

    A value that was cut is followed from call to call, until it meets one whose result takes part in the gradient
    again.  Masks, logged numbers and the targets of a stop-gradient are cut too: it is the parameters that got no
    gradient for which anybody asks.
    """

    def __init__(self, trace: Trace, guard: Guard) -> None:
        self._trace = trace
        self._see = guard(self._saw)
        self.used: dict[int, str] = {}
        """By the id of a trained parameter that some call was given, its module's path; in the order of the pass."""
        self.multiplied = set[int]()
        """The ids of those that something was multiplied with, as weights are."""
        self._cuts: dict[Key, _Cut] = {}
        self._carried: Any = WeakTensorKeyDictionary()
        self._left: frozenset[Key] = NOTHING
        self._unseen: frozenset[Key] = NOTHING
        """Those of the calls that left torch by a way on which none comes back that can be seen."""
        self._known: Any = WeakTensorKeyDictionary()
        self._known.update(dict.fromkeys(trace.model.buffers(), True))

    @contextmanager
    def watching(self) -> Iterator[None]:
        with Calls(self._call):
            yield

    def _call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = passed_on(function, args, kwargs)
        inside = self._trace.busy or torch._C._are_functorch_transforms_active()
        if not inside and self._matters(function, output):
            with torch._C.DisableTorchFunction():  # to look at a tensor is a call for the other modes
                self._see(function, args, kwargs, output)
        return output

    def _matters(self, function: Any, output: Any) -> bool:
        """Whether it gives values, or takes them out of torch: no mere question, as for a shape."""
        if output is None or isinstance(output, bool | int | torch.Size):
            return operation_name(function) == "setitem"
        return isinstance(output, Tensor | tuple | list | Mapping) or operation_name(function) in LEAVES_TORCH

    def _saw(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = list(_tensors((*args, *kwargs.values()) if kwargs else args))
        name = _name(function)
        results = [args[0]] if name == "setitem" else list(_tensors((output,)))
        taking_part, outside = _parted(given)
        for tensor in taking_part:
            if tensor.is_leaf and isinstance(tensor, nn.Parameter):
                self.used.setdefault(id(tensor), self._trace.path)
        if name in WEIGHTS or name in PRODUCTS:
            self.multiplied |= {id(t._base if t._is_view() else t) for t in taking_part if is_weight(t)}
        plain = _parted(results)[1]
        carried = self._carrying(outside) if outside else NOTHING
        if len(plain) < len(results):
            for key in carried:
                self._cuts[key].comes_back = True
        if name in ENTERS_TORCH:
            carried |= self._left
        if taking_part and _hands_on(name, results, plain, output):
            carried = self._cut(name, taking_part)
        if carried and name in LEAVES_TORCH and not results:
            self._left |= carried
            self._unseen |= carried if name in UNSEEN_WAY else NOTHING
        for result in plain if carried else ():
            self._carried[result] = carried
        for tensor in (*outside, *plain):
            self._known[tensor] = True

    def _carrying(self, outside: list[Tensor]) -> frozenset[Key]:
        found = [self._carried.get(t) for t in outside] if self._carried else []
        if self._unseen and any(t not in self._known for t in outside):
            found.append(self._unseen)
        return NOTHING.union(*(keys for keys in found if keys))

    def _cut(self, name: str, taking_part: list[Tensor]) -> frozenset[Key]:
        name = name if torch.is_grad_enabled() else WITHOUT_GRADIENTS
        key = name, self._trace.path, user_line()
        if key not in self._cuts and len(self._cuts) >= MOST_CUTS:
            return NOTHING
        cut = self._cuts.setdefault(key, _Cut(Cut(*key, self._trace.training)))
        cut.nodes += [t.grad_fn for t in taking_part if t.grad_fn is not None]
        cut.parameters |= {id(t) for t in taking_part if t.grad_fn is None}
        return frozenset({key})

    # ------------------------------------------------------------ after the backward pass

    def unreached(self, without: Iterable[Tensor]) -> list[Unreached]:
        """Of these parameters, whose gradient is None, those that the pass used, and behind which cut each lies."""
        wanted = {id(p): p for p in without if id(p) in self.used}
        if not wanted:
            return []
        behind: dict[int, Cut] = {}
        seen: set[Any] = set()
        for cut in reversed(self._cuts.values()):  # what severs is last: behind it nothing has a gradient to cut
            if cut.comes_back:
                behind |= {i: cut.told for i in cut.parameters | _leaves(cut.nodes, seen) if i not in behind}
        names = {id(p): name for name, p in named_parameters(self._trace.model)}
        labels: dict[str, str] = {}
        for operation in self._trace.operations:
            labels.setdefault(operation.site.module, operation.site.label)
        return [
            Unreached(names[i], labels.get(path, path) if path else names[i], behind.get(i))
            for i, path in self.used.items()
            if i in wanted and i in names
        ]


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())


def _parted(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Those that take part in the gradient, and those that don't."""
    return [t for t in tensors if t.requires_grad], [t for t in tensors if not t.requires_grad]


def _name(function: Any) -> str:
    name = operation_name(function)
    if name != "get":
        return name
    return operation_name(getattr(function, "__self__", function))  # Tensor.data.__get__


def _hands_on(name: str, results: list[Tensor], plain: list[Tensor], output: Any) -> bool:
    """Whether values that it was given leave the graph with it: more than their shape, and not as `.grad`."""
    if name == "grad" or name.endswith("_like") or name.startswith(("new", "is_", "requires_grad")):
        return False
    return bool(plain) or (not results and name in LEAVES_TORCH and output is not None)


def _leaves(nodes: Iterable[Any], seen: set[Any]) -> set[int]:
    """The ids of the parameters that a gradient at these nodes would reach, but for nodes that were seen before."""
    found, todo = set[int](), list(nodes)
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        todo += [after for after, _ in node.next_functions]
    return found
