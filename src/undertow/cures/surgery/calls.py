"""The torch calls of one forward pass and its loss, each with its place in the user's source."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from undertow.cures.surgery.place import Place, users_place
from undertow.cures.training import Training, first_batch
from undertow.cures.trials.seeding import random_state_kept
from undertow.foundation.calls import seeing
from undertow.probe import objective
from undertow.record.operations import operation_name
from undertow.record.stack import Stack


@dataclass(eq=False)
class Call:
    """One call of torch."""

    name: str
    caller: Place | None
    """In the user's source; of a call inside a module of torch's, the call of that module."""
    path: str
    """Of the module under way."""
    module: nn.Module | None
    """The same module; None in the loss."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    training: bool = True
    graded: bool = True
    """Whether gradients were on."""
    in_place: bool = False
    given: list[Call] = field(default_factory=list)
    """The calls that made what it was given."""

    @property
    def place(self) -> Place | None:
        """The call itself in the user's source; None inside the modules of torch."""
        return self.caller if self.caller is not None and not self.caller.crossed else None

    @property
    def tensors(self) -> list[Tensor]:
        return [t for t in tree_leaves((self.args, self.kwargs)) if isinstance(t, Tensor)]

    def maker(self, argument: int) -> Call | None:
        """The call that made this argument."""
        given = self.args[argument] if len(self.args) > argument else None
        return next((c for c in self.given if any(t is given for t in tree_leaves(c.output))), None)


def calls(training: Training) -> list[Call]:
    """Of the first batch, on a copy; neither the model nor a random generator changes.

    The tensors of all calls are kept as long as the list is.
    """
    model, loss = deepcopy((training.model, training.loss))
    tracer = _Tracer(model)
    with random_state_kept(), seeing(tracer.call, tracer.enter, tracer.leave):
        objective(loss)(model, first_batch(training))
    return tracer.calls


class _Tracer:
    def __init__(self, model: nn.Module) -> None:
        self.calls: list[Call] = []
        self._stack = Stack(model)
        self._made: dict[int, tuple[Tensor, Call]] = {}

    def enter(self, module: nn.Module, _args: Any) -> None:
        self._stack.enter(module)

    def leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        self._stack.leave(module)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        name, top = operation_name(function), self._stack.top
        if name == "get":
            name = operation_name(getattr(function, "__self__", function))  # Tensor.data.__get__
        if not any(isinstance(t, Tensor) for t in tree_leaves(output)) and name not in ("backward",):
            return output
        module = top.module if top else None
        with torch._C.DisableTorchFunction():
            made = Call(
                name,
                users_place(name, len(args)),
                self._stack.path,
                module,
                args,
                kwargs,
                output,
                module.training if module is not None else True,
                torch.is_grad_enabled(),
                _is_in_place(function),
            )
            made.given = [self._made[id(t)][1] for t in made.tensors if id(t) in self._made]
            for tensor in tree_leaves(output):
                if isinstance(tensor, Tensor):
                    self._made[id(tensor)] = tensor, made
        self.calls.append(made)
        return output


def _is_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")
