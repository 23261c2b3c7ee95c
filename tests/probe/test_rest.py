"""Steps that are left alone: counted, looked at, and over as soon as something else than them comes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loops import batches, loss_of, net
from torch import nn
from torch.optim import SGD, Optimizer

from undertow.diagnosis import watch
from undertow.probe.stepping import lookout
from undertow.probe.stepping.budget import ALARMED

STEPS = 40


def train(model: nn.Module, optimizer: Optimizer, count: int = STEPS) -> None:
    for x, y in batches(count):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()


def test_every_step_is_counted_whether_it_is_read_or_not() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=0.0) as run:
        for index in range(STEPS):
            assert run._observer.step == index
            train(model, optimizer, 1)
            run.log(0.5)
        assert run.recording.steps_seen in (STEPS, STEPS - 1)
    recording = run.recording
    assert recording.steps_seen == STEPS
    assert recording.unread_steps > STEPS / 2
    assert [loss.step for loss in recording.losses] == list(range(1, STEPS + 1))
    assert [s.step for s in recording.snapshots] == [0, 1, 2, 3, 4, 8, 16, 32]
    assert all(s.passes == 1 and not s.carried for s in recording.steps)


def test_meanwhile_no_parameter_has_a_hook() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=0.0) as run:
        train(model, optimizer, 20)
        assert run._observer._clock.rest.left
        assert not run._observer._clock.hooked
        assert not any(p._post_accumulate_grad_hooks for p in model.parameters())  # pyright: ignore
        train(model, optimizer, 20)
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())  # pyright: ignore


def test_another_optimizer_ends_it() -> None:
    model = net()
    parts = list(model.parameters())
    one, other = SGD(parts[:2], 0.01), SGD(parts[2:], 0.01)
    with watch(model, budget=0.0) as run:
        train(model, one, 20)
        assert run._observer._clock.rest.left
        for x, y in batches(20):
            model.zero_grad()
            loss_of(model, x, y).backward()
            one.step()
            other.step()
    assert run._observer.failure is None
    assert run.recording.optimizers == ["SGD", "SGD"]
    assert run.recording.steps_seen in (40, 41)  # nothing tells at its first step that it belongs to the other's
    assert {s.optimizer for s in run.recording.steps} == {0, 1}


def test_optimizers_of_another_model_do_not() -> None:
    model, stranger = net(), net()
    optimizer, others = SGD(model.parameters(), 0.01), SGD(stranger.parameters(), 0.01)
    with watch(model, budget=0.0) as run:
        for _ in range(STEPS):
            train(model, optimizer, 1)
            train(stranger, others, 2)
    assert run.recording.steps_seen == STEPS
    assert run.recording.unread_steps > STEPS / 2


def test_a_wrapper_counts_once() -> None:
    """An optimizer that shares the groups of the one that it wraps, as Accelerate's does."""

    class Wrapper(Optimizer):
        def __init__(self, inner: Optimizer) -> None:
            super().__init__(inner.param_groups, inner.defaults)
            self.inner, self.param_groups = inner, inner.param_groups

        def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return self.inner.step(closure)

    model = net()
    with watch(model, budget=0.0) as run:
        train(model, Wrapper(SGD(model.parameters(), 0.01)))
    assert run.recording.steps_seen == STEPS


def test_passes_that_add_up_are_no_steps() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(3 * STEPS)):
            loss_of(model, x, y).backward()
            if index % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
    assert run.recording.steps_seen == STEPS
    assert {s.passes for s in run.recording.steps} == {3}


def test_a_closure_is_not_left_alone() -> None:
    """Its gradients are not there before the step."""
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    with watch(model, optimizer, budget=0.0) as run:
        for x, y in batches(20):

            def compute(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, x, y)
                loss.backward()
                return loss

            optimizer.step(compute)
            assert not run._observer._clock.rest.left
    assert run.recording.steps_seen == 20


def test_a_gradient_that_grows_is_measured_whole() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 1e-6)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(STEPS)):
            optimizer.zero_grad()
            (loss_of(model, x, y) * (1000.0 if index >= 18 else 1.0)).backward()
            optimizer.step()
    norms = {s.step: s.gradient_norm for s in run.recording.steps}
    seen = next(step for step, norm in norms.items() if norm > 100 * norms[0])
    assert {seen + 1, seen + 2} <= {s.step for s in run.recording.snapshots}


@pytest.mark.parametrize("factor", [0.0, 1e-3, 1e3])
def test_a_gradient_that_changes_for_good_is_measured_whole(factor: float) -> None:
    """Though nothing is due between the 64th and the 128th step, and no norms are read for fifty steps."""
    model, changes = net(), 70
    optimizer = SGD(model.parameters(), 1e-6)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(changes + 40)):
            optimizer.zero_grad()
            (loss_of(model, x, y) * (factor if index >= changes else 1.0)).backward()
            optimizer.step()
    alarm = changes + lookout.IN_A_ROW - 1
    assert run.recording.steps_seen == changes + 40
    assert {alarm + later for later in ALARMED} <= {s.step for s in run.recording.snapshots}


def test_an_error_of_ours_ends_the_watch_and_not_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin = net(), net()
    optimizer = SGD(model.parameters(), 0.01)

    def failing(_gradient: torch.Tensor) -> torch.Tensor:
        raise OSError("a planted fault")

    with watch(model, optimizer, budget=0.0) as run:
        train(model, optimizer, 10)
        monkeypatch.setattr(lookout, "vector_norm", failing)
        with pytest.warns(RuntimeWarning, match="planted fault"):
            train(model, optimizer)
    assert isinstance(run._observer.failure, OSError)
    plain = SGD(twin.parameters(), 0.01)
    train(twin, plain, 10)
    train(twin, plain)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_sum_that_overflows_is_no_fault() -> None:
    model = nn.Linear(4, 3).double()
    optimizer = SGD(model.parameters(), 0.0)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, _) in enumerate(batches(STEPS)):
            optimizer.zero_grad()
            F.linear(x.double()[:, :4], model.weight, model.bias).sum().backward()
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            assert model.weight.grad is not None
            model.weight.grad[:, 0] = 0.9e308 if index > 10 else 1.0
            optimizer.step()
    assert run.recording.origin is None
    assert "first non-finite value" not in run.recording.not_observed
    assert all(math.isfinite(s.gradient_norm) for s in run.recording.steps)
