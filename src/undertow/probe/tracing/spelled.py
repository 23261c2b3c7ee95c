"""What a model spells out in several calls and is one site: `x * torch.sigmoid(x)` is SiLU, and a product of x with
`torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)` is a normalisation."""

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
REDUCTIONS = {"mean", "sum", "var", "std", "norm", "vector_norm"}
CASTS = {"to", "float", "double", "half", "bfloat16", "type", "type_as"}
LONGEST = 16
"""Calls of one spelling; GELU's with tanh takes eight, a layer norm in two precisions ten.  Ours."""
INVARIANT = 1e-5
"""Relative change of a normalisation's result where its input is a thousand times larger: ε is then nothing.  Ours."""

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


Meaning = Activation | str
"""An activation, or the name of a normalisation."""


class Spelling(NamedTuple):
    """An activation or a normalisation in several calls."""

    meaning: Meaning
    source: Tensor
    """The tensor that it is a function of."""
    inside: tuple[Place, ...]
    """The results on the way."""

    @property
    def name(self) -> str:
        return self.meaning if isinstance(self.meaning, str) else self.meaning.name


@dataclass(eq=False)
class Spelled:
    """Follows the elementwise calls of one forward pass."""

    known: dict[Any, Meaning | None] = field(default_factory=dict)
    """What each way of spelling turned out to be; outlives the pass."""

    def __post_init__(self) -> None:
        self._steps: dict[Place, Step] = {}

    def step(self, name: str, function: Any, args: Any, kwargs: Any) -> Step | None:
        """The call as a step, before it runs; None where it is none, or reads more than the signal."""
        if name in CASTS:
            args, kwargs = args[:1], {}
        elif name not in ELEMENTWISE and name not in REDUCTIONS:
            return None
        tensors: dict[Place, tuple[weakref.ref[Tensor], int]] = {}

        def slot(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.grad_fn is None:
                return value.item() if _is_number(value) else value
            place = value.grad_fn, value.output_nr
            tensors[place] = weakref.ref(value), value._version
            return Slot(place)

        arguments = tree_map(slot, (args, kwargs))
        if not tensors or any(isinstance(v, Tensor) for v in tree_leaves(arguments)):
            return None
        return Step(name, function, arguments, tensors, len(self._steps))

    def ran(self, step: Step, output: Any) -> None:
        """Keeps a step, by its result; a cast to the type that a tensor has gives the tensor itself."""
        if isinstance(output, Tensor) and output.grad_fn is not None:
            place = output.grad_fn, output.output_nr
            if place not in step.tensors:
                step.result = place
                self._steps[place] = step

    def ending(self, end: Step) -> Spelling | None:
        """The activation whose spelling ends in this step, by the longest way back that makes one."""
        if end.name not in ENDS:
            return None
        for group, place in reversed(list(self._ways(end))):
            source = _alive(group, place)
            meaning = None if source is None else self._recognise(group, place, source.ndim)
            if meaning is not None and source is not None:
                return Spelling(meaning, source, tuple(s.result for s in group if s.result is not None))
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

    def _recognise(self, group: list[Step], place: Place, ndim: int) -> Meaning | None:
        key = ndim, _structure(group, place)
        if key not in self.known:
            reduces = any(step.name in REDUCTIONS for step in group)
            self.known[key] = _normalisation(group, place, ndim) if reduces else _activation(group, place)
        return self.known[key]


def _is_number(value: Any) -> bool:
    """A tensor of one value without a gradient; on an accelerator reading it would wait."""
    return isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad and value.device.type == "cpu"


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


def _activation(group: list[Step], place: Place) -> Activation | None:
    """The definition that has the same values in float64."""
    values = _values(group, place, POINTS)
    if values is None or values.shape != POINTS.shape or values.dtype != torch.float64:
        return None
    found = alike(values, set().union(*(s.numbers for s in group)))
    return None if found is None else found.definition


def _normalisation(group: list[Step], place: Place, ndim: int) -> str | None:
    """What scales the size of its input away is a normalisation; its name is that of the torch function like it."""
    x = torch.randn([3] * (ndim - 1) + [7], dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    values, larger = _values(group, place, 1e3 * x), _values(group, place, 1e6 * x)
    if values is None or larger is None or values.shape != x.shape:
        return None
    if (values - larger).abs().max() > INVARIANT * values.abs().max() or not values.std() > 0:
        return None
    if values.mean(-1).abs().max() < INVARIANT:
        return "layer_norm"
    return "rms_norm" if (values.square().mean(-1) - 1).abs().max() < INVARIANT else "normalize"


def _values(group: list[Step], place: Place, x: Tensor) -> Tensor | None:
    """What the steps make of x, with every cast left out; None where torch refuses it."""
    known: dict[Place, Tensor] = {place: x}
    value: Any = None
    try:
        with torch.no_grad():
            for step in reversed(group):
                args, kwargs = step.filled(lambda p: known[p].clone())  # a clone, for it may work in place
                value = args[0] if step.name in CASTS else step.function(*args, **kwargs)
                if step.result is not None:
                    known[step.result] = value
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    return value if isinstance(value, Tensor) else None
