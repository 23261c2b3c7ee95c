"""The origin of a watched run: at the step where it arose, whatever that step cost and whatever the loop does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import watch
from undertow.record import Origin, Recording

BAD = 37


class Net(nn.Module):
    """Divides by 0 when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.scale = nn.Linear(4, 8), nn.Linear(8, 3), 1.0

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        h = h / self.scale  # the line
        return self.last(F.dropout(h, 0.1))


def batches(count: int = 50) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 4, generator=generator), torch.arange(8) % 3) for _ in range(count)]


def plain(model: Net, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def clipped(model: Net, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def accumulated(model: Net, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    scale = model.scale
    for i in range(4):
        model.scale = scale if i == 2 else 1.0
        F.cross_entropy(model(x), y).backward()
    model.scale = scale
    optimizer.step()


def closure(model: Net, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    def compute() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(compute)  # pyright: ignore


def by_hand(model: Net, _optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad


LOOPS = {f.__name__: f for f in (plain, clipped, accumulated, closure, by_hand)}


def trained(
    loop: Callable[..., None], budget: float | None, watched: bool = True
) -> tuple[Recording | None, list[Tensor]]:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = watch(model, budget=budget) if watched else None
    for i, (x, y) in enumerate(batches()):
        model.scale = 0.0 if i == BAD else 1.0
        loop(model, optimizer, x, y)
    if run is not None:
        run.close()
    assert not model._forward_pre_hooks
    assert not model._forward_hooks
    return run.recording if run else None, [*model.parameters(), torch.get_rng_state()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x.nan_to_num(7.0), y.nan_to_num(7.0)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("budget", [0.0, None])
@pytest.mark.parametrize("name", LOOPS)
def test_the_operation_and_the_step(name: str, budget: float | None) -> None:
    recording, final = trained(LOOPS[name], budget)
    assert recording is not None
    origin = recording.origin
    assert isinstance(origin, Origin), recording.not_observed
    assert (origin.step, origin.site, origin.direction) == (BAD, "forward:div", "forward")
    assert origin.source == f"test_origin_watched.py:{Net.forward.__code__.co_firstlineno + 2}"
    assert origin.exact
    assert origin.inputs[0].max <= 1
    assert same(final, trained(LOOPS[name], None, watched=False)[1])


def test_a_step_whose_gradients_are_not_read() -> None:
    """Between the steps that are read one small gradient is looked at; what it shows is read."""
    recording, _ = trained(plain, 0.0)
    assert recording is not None
    read = {s.step: s.gradient_norm for s in recording.steps}
    assert math.isnan(read[BAD])
    assert not {BAD - 1, BAD - 2} & read.keys()
    assert {BAD + 1, BAD + 2} <= {s.step for s in recording.snapshots}
    assert recording.steps_seen == 50 == len(recording.steps) + recording.unread_steps
    assert recording.origin is not None
    assert (recording.origin.step, recording.origin.site) == (BAD, "forward:div")


def test_a_loop_that_leaves_such_a_batch_out_has_no_origin() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, budget=0.0) as run:
        for i, (x, y) in enumerate(batches()):
            model.scale = 0.0 if i == BAD else 1.0
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if nn.utils.clip_grad_norm_(model.parameters(), 1.0).isfinite():
                optimizer.step()
    assert run.recording.origin is None
    assert not [f for f in run.diagnose().findings if f.kind == "nonfinite"]


def test_a_loss_scaler_has_no_origin() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1000)
    skipped: list[Any] = []
    with watch(model, budget=0.0) as run:
        for x, y in batches(20):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y) * 100).backward()
            scaler.step(optimizer)
            scaler.update()
            skipped.append(scaler.get_scale())
    assert run.recording.skipped
    assert run.recording.origin is None
    assert "first non-finite value" not in run.recording.not_observed
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_compiled_model() -> None:
    """Its wrapper's inputs are seen; the replay is not compiled."""
    torch.manual_seed(0)
    model = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), backend="eager", fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, budget=0.0) as run:
        for i, (x, y) in enumerate(batches(14)):
            optimizer.zero_grad()
            F.cross_entropy(model(x / (i != 9)), y).backward()
            optimizer.step()
    origin = run.recording.origin
    assert origin is not None
    assert (origin.step, origin.site) == (9, "input")
