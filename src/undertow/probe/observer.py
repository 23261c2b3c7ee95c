"""Observes a training loop that it doesn't own: taps on the model's forward pass, the gradient and the optimizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from undertow.native import statistics
from undertow.probe.budget import Budget
from undertow.probe.objective import check_trainable
from undertow.probe.tap import ForwardTap
from undertow.record import NotObserved, ParameterReading, Reading, Recording, Snapshot, StepReading


class Observer:
    """Watches `model` until `close()`; what was seen is in `recording`.

    Parameters
    ----------
    model:
        Observed wherever its forward pass runs in training mode with gradients on.
    optimizer:
        Its steps count; without one, every optimizer that holds a parameter of the model does.
    budget:
        Share of the run's time that measuring whole steps may cost; None measures every step.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, budget: float | None = 0.02
    ) -> None:
        check_trainable(model)
        self.model, self.optimizer, self._only = model, optimizer, optimizer
        self.recording = Recording()
        self.budget = Budget(budget)
        self.failure: Exception | None = None
        self.step = 0
        self._known = {id(p) for p in model.parameters()}
        self._alarmed = False
        self._tap = ForwardTap(model, self._wants, self._guard)
        self._handles = [
            register_optimizer_step_pre_hook(self._guard(self._before_step)),
            register_optimizer_step_post_hook(self._guard(self._after_step)),
        ]

    def close(self) -> None:
        """Takes every hook off; the model is as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._tap.leave()
        self._collect()
        self._tap.close()
        self.recording.overhead = self.budget.overhead
        self.recording.optimizer = type(self.optimizer).__name__ if self.optimizer else None

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours never ends the user's training: it ends the observing, and is said once."""

        def guarded(*args: Any) -> Any:
            if self.failure is not None:
                return None
            try:
                with self.budget.counted():
                    return call(*args)
            except Exception as error:
                self._fail(error)
                return None

        return guarded

    def _wants(self) -> bool:
        return self.model.training and (self.budget.wants(self.step) or self._alarmed)

    # ------------------------------------------------------------ the optimizer's step

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        if self._only is not None:
            return optimizer is self._only
        return any(id(p) in self._known for p in _parameters(optimizer))

    def _before_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if not self._concerns(optimizer):
            return
        self.optimizer = optimizer
        norm = _total_norm(optimizer)
        self.recording.steps.append(StepReading(self.step, norm, float(optimizer.param_groups[0]["lr"])))
        self._alarmed = not math.isfinite(norm) and len(self._nonfinite_steps()) <= 2
        self._collect(self._parameter_readings())

    def _after_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._concerns(optimizer):
            self.budget.stepped(self.step)
            self.step += 1

    def _nonfinite_steps(self) -> list[StepReading]:
        return [s for s in self.recording.steps[-3:] if not math.isfinite(s.gradient_norm)]

    def _parameter_readings(self) -> dict[str, ParameterReading]:
        if not self._tap.accounts:
            return {}
        return {
            name: ParameterReading(
                Reading(*statistics(p)), Reading(*statistics(p.grad.to_dense())) if p.grad is not None else None
            )
            for name, p in self.model.named_parameters()
            if p.requires_grad and p.numel()
        }

    def _collect(self, parameters: dict[str, ParameterReading] | None = None) -> None:
        """Turns the passes since the last step into one snapshot: the ledger of the first, the units of all."""
        accounts = self._tap.take()
        complete = [a for a in accounts if a.complete]
        for account in accounts:
            account.close()
            self.recording.not_observed.update(account.trace.not_observed)
        if not complete:
            return
        alive: dict[str, torch.Tensor] = {}
        for name, mask in ((o.site.name, o.alive) for a in complete for o in a.trace.operations):
            if mask is not None:
                alive[name] = alive[name] | mask if name in alive else mask
        first = complete[0]
        self.recording.snapshots.append(
            Snapshot(
                self.step,
                first.ledger(self.step),
                sum(a.trace.samples for a in complete),
                first.trace.inputs,
                parameters or {},
                alive,
            )
        )

    def _fail(self, error: Exception) -> None:
        self.failure = (
            error  # the tap leaves at the forward's end: inside a call, torch has taken its mode off the stack
        )
        message = (
            f"undertow stopped observing at step {self.step} ({type(error).__name__}: {error}); the training goes on"
        )
        self.recording.not_observed["undertow"] = NotObserved("undertow", message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _total_norm(optimizer: torch.optim.Optimizer) -> float:
    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    gradients = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    if not gradients:
        return math.nan
    norms = torch.stack([n.double() for n in torch._foreach_norm(gradients)])  # pyright: ignore
    return torch.linalg.vector_norm(norms).item()
