"""Where a model calls its activations, seen by running one batch through a copy."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from undertow.activations import Activation, Identity, Pointwise, recognise, recognise_call
from undertow.cures.surgery.attributes import held, put
from undertow.cures.training import Training, first_batch, plain
from undertow.cures.trials.seeding import random_state_kept
from undertow.foundation import say
from undertow.probe import objective


@dataclass(frozen=True)
class Call:
    """One call of an activation module."""

    module: str
    activation: Activation
    shape: tuple[int, ...]
    """Of its input."""
    same_shape: bool
    producer: type[nn.Module] | None
    """The type of the module whose output it was given; None where an operation came between."""
    source: str
    """The path of that module; empty where there is none."""
    at_output: bool
    """Whether nothing with parameters comes after it, so that the loss needs it as it is."""


@dataclass(frozen=True)
class Survey:
    calls: tuple[Call, ...]
    functional: tuple[str, ...]
    """Activation functions that the model calls in its forward, outside any activation module."""
    attributes: tuple[Call, ...] = ()
    """Calls of functions that modules hold as attributes, by the path of the attribute."""

    def hidden(self) -> dict[str, Call]:
        """The elementwise activation modules whose every call lies before another layer, by module path."""
        return _hidden(self.calls)

    def held(self) -> dict[str, Call]:
        """The same of functions that are attributes."""
        return _hidden(self.attributes)

    def times(self, module: str) -> int:
        return sum(call.module == module for call in self.calls)

    @property
    def nothing_to_edit(self) -> str:
        """Why there is no hidden activation module."""
        called = [*self.functional, *dict.fromkeys(call.activation.name for call in self.attributes)]
        if not called:
            return say("cures.refused.nothing")
        return say("cures.refused.functional", calls=", ".join(called))


def _hidden(calls: Iterable[Call]) -> dict[str, Call]:
    kept = {c.module for c in calls if c.at_output or not c.same_shape or not _swappable(c.activation)}
    return {call.module: call for call in calls if call.module not in kept}


def _swappable(activation: Activation) -> bool:
    return isinstance(activation, Pointwise) and not isinstance(activation, Identity)


def survey(training: Training) -> Survey:
    """Run the first batch through a copy in evaluation mode; neither the model nor a random generator changes."""
    model = deepcopy(plain(training.model)).eval()
    functions = dict(held(model))
    for path, function in functions.items():
        put(model, path, function.layer())
    recorder = _Recorder(model)
    with random_state_kept(), _FunctionalCalls(recorder) as functional:
        objective(training.loss)(model, first_batch(training))
    calls = recorder.calls()
    modules, attributes = (tuple(c for c in calls if (c.module in functions) is kind) for kind in (False, True))
    return Survey(modules, tuple(sorted(functional.names)), attributes)


class _Recorder:
    """Hooks that write down each call of an activation module, and when the last other layer was called."""

    def __init__(self, model: nn.Module) -> None:
        self.activations = {m: (name, a) for name, m in model.named_modules() if (a := recognise(m)) is not None}
        self.names = {m: name for name, m in model.named_modules()}
        self.seen: list[tuple[nn.Module, Tensor, Tensor, nn.Module | None]] = []
        # The tensor is kept beside the module: the id of a freed one would be given to another.
        self.made_by: dict[int, tuple[Tensor, nn.Module]] = {}
        self.outputs: list[Any] = []
        self.before_last_layer = 0
        self.inside_activation = self.inside_model = 0
        model.register_forward_pre_hook(self._begin)
        model.register_forward_hook(self._end)
        for module in model.modules():
            if module in self.activations:
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(self._activation)
            elif not any(m in self.activations for m in module.modules()):
                module.register_forward_hook(self._layer)
        # A module with weights of its own around activations may use them after any of these.
        self.ordered = not any(
            module not in self.activations
            and next(module.parameters(recurse=False), None) is not None
            and any(m in self.activations for m in module.modules())
            for module in model.modules()
        )

    def _begin(self, module: nn.Module, args: Any) -> None:
        self.inside_model += 1

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        self.inside_model -= 1
        self.outputs.extend(tree_leaves(output))

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.inside_activation += 1

    def _activation(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.inside_activation -= 1
        source = args[0] if args else output
        producer = self.made_by.get(id(source))
        self.seen.append((module, source, output, producer[1] if producer else None))

    def _layer(self, module: nn.Module, args: Any, output: Any) -> None:
        if next(module.parameters(), None) is not None:
            self.before_last_layer = len(self.seen)
        if isinstance(output, Tensor):
            self.made_by.setdefault(id(output), (output, module))

    def calls(self) -> tuple[Call, ...]:
        final = {t.untyped_storage().data_ptr() for t in self.outputs if isinstance(t, Tensor)}
        return tuple(
            Call(
                *self.activations[module],
                tuple(source.shape),
                source.shape == output.shape,
                type(producer) if producer else None,
                self.names[producer] if producer else "",
                output.untyped_storage().data_ptr() in final or (self.ordered and index >= self.before_last_layer),
            )
            for index, (module, source, output, producer) in enumerate(self.seen)
        )


class _FunctionalCalls(TorchFunctionMode):
    """The names of the activation functions that are called outside activation modules."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        recorder = self.recorder
        if recorder.inside_model and not recorder.inside_activation and recognise_call(func.__name__, args, kwargs):
            self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))
