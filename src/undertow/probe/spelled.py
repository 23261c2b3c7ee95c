"""Activations that a model spells out in several calls: `x * torch.sigmoid(x)` is SiLU, and one site."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.activations import Activation
from undertow.activations.recognition.alike import POINTS, alike
from undertow.activations.recognition.elementwise import NAMES

ELEMENTWISE = {name.strip("_") for name in NAMES} - {"clone", "where", "full_like", "ones_like", "zeros_like"}
ELEMENTWISE |= {"imul", "iadd", "isub", "itruediv", "rpow"}
ENDS = {"mul", "multiply", "rmul", "imul", "div", "divide", "true_divide", "truediv", "itruediv"}
"""What the spellings of gated activations end with: a product, or a quotient."""
LONGEST = 16
"""Calls of one spelling; GELU's with tanh takes eight.  Ours."""

Place = tuple[Any, int]
"""A tensor by its node of the autograd graph and its output there."""


@dataclass(frozen=True)
class Slot:
    """Stands for a tensor among the arguments of a step."""

    place: Place


@dataclass(eq=False)
class Step:
    """One elementwise call."""

    name: str
    function: Callable[..., Any]
    arguments: Any
    tensors: dict[Place, tuple[weakref.ref[Tensor], int]]
    """What it reads, with its version; not kept alive."""
    order: int
    result: Place | None = None

    def filled(self, fill: Callable[[Place], Any]) -> Any:
        """Its arguments with something else in the place of the tensors."""
        return tree_map(lambda v: fill(v.place) if isinstance(v, Slot) else v, self.arguments)

    @property
    def numbers(self) -> set[float]:
        found = tree_leaves(self.arguments)
        return {float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)}


class Spelling(NamedTuple):
    """An activation in several calls: the tensor that it is a function of, and the results on the way."""

    activation: Activation
    source: Tensor
    inside: tuple[Place, ...]


@dataclass(eq=False)
class Spelled:
    """Follows the elementwise calls of one forward pass."""

    known: dict[Any, Activation | None] = field(default_factory=dict)
    """What each way of spelling turned out to be; outlives the pass."""

    def __post_init__(self) -> None:
        self._steps: dict[Place, Step] = {}

    def step(self, name: str, function: Any, args: Any, kwargs: Any) -> Step | None:
        """The call as a step, before it runs; None where it is not elementwise, or reads more than the signal."""
        if name not in ELEMENTWISE:
            return None
        tensors: dict[Place, tuple[weakref.ref[Tensor], int]] = {}

        def slot(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.grad_fn is None:
                return value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
            place = value.grad_fn, value.output_nr
            tensors[place] = weakref.ref(value), value._version
            return Slot(place)

        arguments = tree_map(slot, (args, kwargs))
        if not tensors or any(isinstance(v, Tensor) for v in tree_leaves(arguments)):
            return None
        return Step(name, function, arguments, tensors, len(self._steps))

    def ran(self, step: Step, output: Any) -> None:
        """Keeps a step, by its result."""
        if isinstance(output, Tensor) and output.grad_fn is not None:
            step.result = output.grad_fn, output.output_nr
            self._steps[step.result] = step

    def ending(self, end: Step) -> Spelling | None:
        """The activation whose spelling ends in this step, by the longest way back that makes one."""
        if end.name not in ENDS:
            return None
        for group, place in reversed(list(self._ways(end))):
            activation, source = self._recognise(group, place), _alive(group, place)
            if activation is not None and source is not None:
                return Spelling(activation, source, tuple(s.result for s in group if s.result is not None))
        return None

    def _ways(self, end: Step) -> Iterator[tuple[list[Step], Place]]:
        """Steps that are a function of one tensor together, the last first, with the place of that tensor."""
        group, frontier = [end], dict.fromkeys(end.tensors)
        joined = len(frontier) > 1
        while len(group) < LONGEST:
            if joined and len(frontier) == 1:
                yield list(group), next(iter(frontier))
            behind = [self._steps[place] for place in frontier if place in self._steps]
            if not behind:
                return
            step = max(behind, key=lambda s: s.order)
            frontier.pop(step.result)  # pyright: ignore[reportArgumentType]
            frontier |= dict.fromkeys(step.tensors)
            joined = joined or len(step.tensors) > 1
            group.append(step)

    def _recognise(self, group: list[Step], place: Place) -> Activation | None:
        key = _structure(group, place)
        if key not in self.known:
            self.known[key] = _by_values(group, place)
        return self.known[key]


def _alive(group: list[Step], place: Place) -> Tensor | None:
    """The tensor at a place, unless it is gone or has been overwritten."""
    for reference, version in (step.tensors[place] for step in group if place in step.tensors):
        tensor = reference()
        if tensor is not None and tensor._version == version:
            return tensor
    return None


def _structure(group: list[Step], place: Place) -> Any:
    """The same for every spelling of one kind, wherever it is called."""
    numbers: dict[Place, int] = {place: 0}
    return tuple((s.name, repr(s.filled(lambda p: f"#{numbers.setdefault(p, len(numbers))}"))) for s in group)


def _by_values(group: list[Step], place: Place) -> Activation | None:
    """The definition that has the same values in float64."""
    known: dict[Place, Tensor] = {place: POINTS}
    value: Any = None
    with torch.no_grad():
        for step in reversed(group):
            args, kwargs = step.filled(lambda p: known[p].clone())  # a clone, for it may work in place
            value = step.function(*args, **kwargs)
            if not isinstance(value, Tensor) or value.shape != POINTS.shape or value.dtype != torch.float64:
                return None
            if step.result is not None:
                known[step.result] = value
    found = alike(value, set().union(*(s.numbers for s in group)))
    return None if found is None else found.definition
