"""One forward pass under observation: every operation that takes part in the gradient, in the order of the calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from undertow.activations import Activation, applied, recognise
from undertow.foundation import Effect
from undertow.foundation.calls import seeing
from undertow.native import statistics
from undertow.probe.tracing.entries import Edge, merged
from undertow.probe.tracing.inputs import Inputs
from undertow.probe.tracing.prepared import Prepared
from undertow.probe.tracing.slopes import Measured, Slopes
from undertow.probe.tracing.spelled import CASTS, Spelled, Spelling, Step
from undertow.record import NotObserved, Reading, Site, Slope
from undertow.record.names import module_names, own_class
from undertow.record.operations import CHANNELS_FIRST, FUSED, PLUMBING, effect_of, operation_name
from undertow.record.stack import user_line

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(eq=False)
class Operation:
    """One observed call; the backward part is filled in by `tracing.account`."""

    site: Site
    edges: tuple[Edge, ...]
    forward: Reading
    measured: Measured | None = None
    """Of an activation."""
    source: Edge | None = None
    """What the activation was given."""

    @property
    def slope(self) -> Slope | None:
        return self.measured and self.measured.slope

    @property
    def alive(self) -> Tensor | None:
        """Per unit, whether f′ differs from 0 for any sample."""
        return self.measured and self.measured.alive


@dataclass(eq=False)
class Frame:
    """A module on the call stack; one that the model does not hold (made in a forward pass) has its caller's path."""

    path: str
    module: nn.Module
    call: int
    opaque: Activation | None = None
    operations: int = 0
    held: bool = True
    prepares: bool = False
    """Whether it computes a weight."""

    @property
    def owns_its_operation(self) -> bool:
        """Whether the operation seen is what the module is for: nn.Linear and its like, not a user's own forward."""
        of_torch = own_class(self.module).__module__.startswith("torch.nn")
        leaf = all(name == "parametrizations" for name, _ in self.module.named_children())
        return self.held and of_torch and leaf


@dataclass(eq=False)
class Trace:
    """The operations of one forward pass of `model`, from `watching()` until its end."""

    model: nn.Module
    slopes: Slopes = field(default_factory=Slopes)
    guard: Guard = lambda call: call
    """Wraps whatever of ours runs inside the user's training."""
    operations: list[Operation] = field(default_factory=list)
    not_observed: dict[str, NotObserved] = field(default_factory=dict)
    given: Inputs = field(default_factory=Inputs)
    early_inputs: bool = False
    """Whether the model's own arguments held its input."""

    def __post_init__(self) -> None:
        names = module_names(self.model)
        self._paths = {id(m): names[raw] for raw, m in self.model.named_modules()}
        self._stack: list[Frame] = []
        self._calls: Counter[str | int] = Counter()
        self.by_edge: dict[Edge, Operation] = {}
        self._channels_first: dict[Edge, bool] = {}
        self._prepared = Prepared()
        self._spelled = Spelled(self.slopes.spellings)
        self.busy = False

    @contextmanager
    def watching(self) -> Iterator[Trace]:
        """Observe what runs inside the block."""
        with seeing(self.call, self.guard(self.enter), self.guard(self._leave)):
            yield self

    # ------------------------------------------------------------ the module stack

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        held = id(module) in self._paths
        path = self._paths[id(module)] if held else self._stack[-1].path if self._stack else ""
        opaque = None if own_class(module).__module__.startswith("torch.nn") else recognise(module)
        if not args or getattr(module, "inplace", False):  # its input is not at hand afterwards, or overwritten
            opaque = None
        prepares = Prepared.by(module) or bool(self._stack and self._stack[-1].prepares)
        self._stack.append(Frame(path, module, self._calls[id(module)], opaque, held=held, prepares=prepares))
        self._calls[id(module)] += held  # a wrapper has the name of what it wraps
        self.given.note(args)
        if len(self._stack) == 1:
            self.early_inputs = self.inputs is not None

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not self._stack or self._stack[-1].module is not module:
            return
        frame = self._stack.pop()
        if frame.opaque is None or not isinstance(output, Tensor):
            return
        with self._paused():
            if self._taking_part(output):
                name = own_class(module).__name__.lower()
                own = Site(frame.path, name, frame.call, "activation")
                site = own if frame.held else self._site(name, "activation")
                self._record(site, output, self._slope(frame.opaque, args[0]))

    def left(self) -> None:
        """The module that was entered by hand has ended."""
        self._stack.clear()

    @property
    def path(self) -> str:
        """Of the module under way."""
        return self._stack[-1].path if self._stack else ""

    @property
    def training(self) -> bool:
        """Whether the module under way is in training mode."""
        return (self._stack[-1].module if self._stack else self.model).training

    @property
    def samples(self) -> int:
        return self.given.samples

    @property
    def inputs(self) -> Reading | None:
        return self.given.reading

    @property
    def alive(self) -> dict[str, Tensor]:
        """By the name of an activation's site."""
        return {o.site.name: o.alive for o in self.operations if o.alive is not None}

    # ------------------------------------------------------------ the operations

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self.busy = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.busy = False

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one torch function and record it; inside an opaque activation module only its own outcome counts."""
        name = args[1].name if function is applied else operation_name(function)
        if self.busy or not torch.is_grad_enabled() or (self._stack and self._stack[-1].opaque):
            return function(*args, **kwargs)
        if name in PLUMBING:
            return self._plumb(name, function, args, kwargs)
        if torch._C._are_functorch_transforms_active():
            self.guard(self._note)("torch.func: what a transform (vmap, grad) runs has no place in autograd's graph")
            return function(*args, **kwargs)
        if self.guard(self._is_prepared)(name, function, args, kwargs):
            output = function(*args, **kwargs)
            self.guard(self._prepared.keep)(output)
            return output
        seen = self.guard(self._before_call)(name, function, args, kwargs)
        output = function(*args, **kwargs)
        if seen is not None:
            self.guard(self._after_call)(output, seen)
        return output

    def _is_prepared(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        frame = self._stack[-1] if self._stack else None
        if self._prepared.is_one(args) or (frame is not None and frame.prepares):
            return True
        in_layer = frame is not None and frame.owns_its_operation and self._prepared.is_one_in_layer(args, name)
        return in_layer and self.slopes.recognise(function, args, kwargs) is None

    def _plumb(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """No site; but a spelling may go through a cast."""
        step = self.guard(self._spelled.step)(name, function, args, kwargs) if name in CASTS else None
        output = function(*args, **kwargs)
        if step is not None:
            self.guard(self._spelled.ran)(step, output)
        return output

    def _before_call(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Seen:
        """What the call is, and an activation's slope: an in-place call is about to overwrite its input."""
        with self._paused():
            activation = self.slopes.recognise(function, args, kwargs)
            step = self._spelled.step(name, function, args, kwargs)
            if activation is not None:
                return _Seen(name, "activation", self._slope(activation, args[0]), step)
            spelling = self._spelled.ending(step) if step else None
            if spelling is None:
                return _Seen(name, effect_of(name, args), None, step)
            if isinstance(spelling.meaning, str):
                return _Seen(spelling.name, "normalisation", None, step, spelling)
            return _Seen(spelling.name, "activation", self._slope(spelling.meaning, spelling.source), step, spelling)

    def _after_call(self, output: Any, seen: _Seen) -> None:
        if any(isinstance(t, Tensor) and self._taking_part(t) for t in tree_leaves(output)):
            with self._paused():
                if seen.spelling is not None:
                    self._forget(seen.spelling)
                if seen.step is not None:
                    self._spelled.ran(seen.step, output)
                self._record(self._site(seen.name, seen.effect), output, seen.measured)
                if seen.name in FUSED:
                    self._note(FUSED[seen.name])

    def _forget(self, spelling: Spelling) -> None:
        """The calls that an activation or a normalisation is spelled with are no sites of their own."""
        inside = {self.by_edge.pop(Edge(*place), None) for place in spelling.inside}
        self.operations = [o for o in self.operations if o not in inside]

    def _taking_part(self, tensor: Tensor) -> bool:
        return (
            tensor.requires_grad
            and tensor.is_floating_point()
            and tensor.grad_fn is not None
            and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # pyright: ignore
            and Edge(tensor.grad_fn, tensor.output_nr) not in self.by_edge
        )

    def _site(self, name: str, effect: Effect) -> Site:
        frame = self._stack[-1] if self._stack else Frame("", self.model, 0)
        frame.operations += 1
        if frame.owns_its_operation and frame.operations == 1:
            return Site(frame.path, name, frame.call, effect)
        key = f"{frame.path}:{name}"
        self._calls[key] += 1
        return Site(frame.path, name, self._calls[key] - 1, effect, functional=True, source=user_line())

    def _record(self, site: Site, output: Any, measured: _Activity | None) -> None:
        tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor) and self._taking_part(t)]
        edges = tuple(Edge(t.grad_fn, t.output_nr) for t in tensors)
        forward = merged([Reading(*statistics(t)) for t in tensors])
        operation = Operation(site, edges, forward, *(measured or (None, None)))
        self.operations.append(operation)
        for edge in edges:
            self.by_edge[edge] = operation
            self._channels_first[edge] = self._is_channels_first(site, edge)

    def _is_channels_first(self, site: Site, edge: Edge) -> bool:
        if site.effect == "weights":
            return site.operation in CHANNELS_FIRST
        before = [self._channels_first[Edge(*e)] for e in edge.node.next_functions if Edge(*e) in self._channels_first]
        return any(before)

    def _slope(self, activation: Activation, x: Tensor) -> _Activity:
        edge = Edge(x.grad_fn, x.output_nr)
        channels_first = self._channels_first.get(edge, x.ndim == 4)
        return _Activity(self.slopes.measure(activation, x, channels_first), edge)

    def _note(self, reason: str) -> None:
        path = self._stack[-1].path if self._stack else ""
        self.not_observed.setdefault(path or "forward", NotObserved(path or "forward", reason))


class _Activity(NamedTuple):
    measured: Measured | None
    source: Edge


class _Seen(NamedTuple):
    """What is known of a call before it runs."""

    name: str
    effect: Effect
    measured: _Activity | None
    step: Step | None
    spelling: Spelling | None = None
