"""One batch through a model, measured, with the model left as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from undertow.foundation import NothingObservedError, UndertowError
from undertow.native import statistics
from undertow.probe.following.returning import Returning
from undertow.probe.nonfinite.witness import Witness
from undertow.probe.objective import Objective, check_trainable, objective
from undertow.probe.tracing.account import Account
from undertow.probe.tracing.tap import ForwardTap
from undertow.probe.tracing.trace import Guard
from undertow.probe.unrolled.attention import Explicit
from undertow.probe.unrolled.unroll import Unrolled
from undertow.probe.wiring.looks import Looks
from undertow.record import LossReading, ParameterReading, Reading, Recording, Snapshot, StepReading


def measure(model: nn.Module, batch: Any, loss: Callable[..., Tensor], unroll: bool = False) -> Recording:
    """A recording of one forward and backward pass; no parameter, gradient, buffer or random state is changed.

    With `unroll` it is that of a replica with its fused layers in the open (see `probe.unroll`).

    Raises ModelError, BatchError or LossError where one of the three cannot be used.
    """
    check_trainable(model)
    value_of = objective(loss)
    with _untouched(model):
        if not unroll:
            return _measured(model, batch, value_of)
        opened = Unrolled(model)
        opened.prepare(value_of, batch)
        recording = _measured(opened.model, batch, value_of, opened.explicit)
    recording.not_observed |= opened.notes | opened.explicit.notes  # they say more than that a layer is fused
    recording.snapshots[0] = replace(recording.snapshots[0], attention=opened.explicit.readings)
    return recording


def _measured(model: nn.Module, batch: Any, value_of: Objective, explicit: Explicit | None = None) -> Recording:
    faults: list[Exception] = []
    tap, witness = ForwardTap(model, lambda: True, _noting(faults)), Witness(model, lambda: True)
    witness.deepen(True)
    tap.arm()
    if explicit is not None:
        explicit.arm()
    try:
        with torch.enable_grad():
            value = value_of(model, batch)
        value.backward()
        looks = Looks(model)
        looks.heard(value)
        recording = _recording(model, tap.take(), value)
        recording.add(looks.look(0, tap.take_cuts()))
        if not (math.isfinite(recording.steps[0].gradient_norm) and math.isfinite(recording.losses[0].value)):
            recording.add(witness.find(0))
        return recording
    except UndertowError:
        if faults:  # an error of ours inside the forward pass, which looked like the model refusing its batch
            raise faults[0] from None
        raise
    finally:
        if explicit is not None:
            explicit.disarm()
        witness.close()
        tap.disarm()
        for account in tap.take():
            account.close()


def _noting(faults: list[Exception]) -> Guard:
    def guard(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any) -> Any:
            try:
                return call(*args)
            except Exception as error:
                faults.append(error)
                raise

        return guarded

    return guard


def _recording(model: nn.Module, accounts: Sequence[Account | Returning], value: Tensor) -> Recording:
    account = next((a for a in accounts if a.complete), None)
    if account is None:
        raise NothingObservedError(
            "a loss whose gradient reaches no operation inside the model",
            "a loss of the output of model(...)",
            "call the model itself (not model.forward or a method of it), and don't detach its output",
        )
    trace = account.trace
    parameters = {
        name: ParameterReading(Reading(*statistics(p)), None if p.grad is None else Reading(*statistics(p.grad)))
        for name, p in model.named_parameters()
        if p.requires_grad and p.numel()
    }
    snapshot = Snapshot(0, account.ledger(), trace.samples, trace.inputs, parameters, trace.alive)
    gradients = [r.gradient for r in parameters.values() if r.gradient is not None]
    norm = math.nan if any(g.nonfinite for g in gradients) else math.hypot(*(g.norm for g in gradients))
    steps = [StepReading(0, norm, 0.0)]
    return Recording(steps, [snapshot], [LossReading(0, value.item())], dict(trace.not_observed))


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Puts gradients, buffers and the random state back at the end."""
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        for p, _ in gradients:
            p.grad = None
        try:
            yield
        finally:
            for p, gradient in gradients:
                p.grad = gradient
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
