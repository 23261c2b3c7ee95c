"""When a backward pass has ended, and when an optimizer steps: events for whoever observes a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


class Listener(Protocol):
    """What happens in a training loop, in the order in which it does."""

    def backward_ended(self) -> None:
        """A backward pass has accumulated its gradients into the parameters."""

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer that holds parameters of the model is about to step; its gradients are those it will use."""

    def after_step(self, optimizer: Optimizer) -> None:
        """It has stepped."""


class Clock:
    """Calls the listener until `close()`, through hooks on all optimizers and on parameters.

    Nothing is hooked to a module, so a compiled model stays as it is: hooks on parameters run in AccumulateGrad,
    outside of any compiled graph.
    """

    def __init__(self, model: nn.Module, only: Optimizer | None, listener: Listener, guard: Guard) -> None:
        self._only, self._listener = only, listener
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._known = {id(p) for p in self._parameters}
        self._queued = False
        self._ended = guard(self._backward_ended)
        accumulated = guard(self._accumulated)
        self._handles = [
            register_optimizer_step_pre_hook(guard(self._before_step)),
            register_optimizer_step_post_hook(guard(self._after_step)),
            *(p.register_post_accumulate_grad_hook(accumulated) for p in self._parameters),
        ]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _accumulated(self, _parameter: Tensor) -> None:
        if not self._queued:
            self._queued = True
            torch.autograd.Variable._execution_engine.queue_callback(self._ended)  # pyright: ignore

    def _backward_ended(self) -> None:
        self._queued = False
        self._listener.backward_ended()

    def _concerns(self, optimizer: Optimizer) -> bool:
        if self._only is not None:
            return optimizer is self._only
        return any(id(p) in self._known for p in parameters(optimizer))

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._concerns(optimizer):
            self._listener.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._concerns(optimizer):
            self._listener.after_step(optimizer)


def parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])
