"""A pass that follows a plan gives the ledger that a trace gives, and notices where it went another way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from ledger_nets import NETS
from torch import Tensor, nn
from watched_runs import MODELS, Job

from undertow.diagnosis import watch
from undertow.foundation import EFFECTS
from undertow.probe.plans import Plans
from undertow.record import Entry, Reading, Recording, Snapshot

Train = Callable[[], tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]]


def observed(
    train: Train, monkeypatch: pytest.MonkeyPatch, steps: int = 5, always: bool = False
) -> tuple[Recording, int]:
    """What is recorded of `steps` steps, and how many passes followed a plan; `always` traces all."""
    followed = 0

    class Counting(Plans):
        def followed(self, ok: bool) -> None:
            nonlocal followed
            followed += ok
            super().followed(ok)

        if always:

            def expected(self) -> None:
                return None

    monkeypatch.setattr("undertow.probe.tap.Plans", Counting)
    model, optimizer, step = train()
    with watch(model, optimizer, budget=None) as run:
        for i in range(steps):
            step(i)
    return run.recording, followed


def same(a: Reading | None, b: Reading | None) -> bool:
    if a is None or b is None:
        return a is b
    numbers = [(getattr(a, k), getattr(b, k)) for k in ("count", "mean", "rms", "max", "zeros", "nans", "infs")]
    return all(x == pytest.approx(y, rel=1e-6, abs=1e-6 * b.rms, nan_ok=True) for x, y in numbers)


def assert_same_entry(entry: Entry, traced: Entry) -> None:
    assert (entry.site, entry.previous, entry.on_path) == (traced.site, traced.previous, traced.on_path)
    assert same(entry.forward, traced.forward)
    assert same(entry.backward, traced.backward)
    for effect in EFFECTS:
        assert getattr(entry, effect) == pytest.approx(getattr(traced, effect), rel=1e-6, nan_ok=True), effect
    assert (entry.slope is None) == (traced.slope is None)
    if entry.slope is not None and traced.slope is not None:
        numbers = [vars(s) | {"activation": ""} for s in (entry.slope, traced.slope)]
        assert entry.slope.activation == traced.slope.activation
        assert all(numbers[0][k] == pytest.approx(numbers[1][k]) for k in numbers[0])


def assert_same_snapshot(found: Snapshot, traced: Snapshot) -> None:
    assert (found.step, found.samples) == (traced.step, traced.samples)
    assert same(found.inputs, traced.inputs)
    assert len(found.ledger) == len(traced.ledger)
    for entry, other in zip(found.ledger, traced.ledger, strict=True):
        assert_same_entry(entry, other)
    assert list(found.alive) == list(traced.alive)
    assert all(torch.equal(found.alive[k], traced.alive[k]) for k in traced.alive)


def of_job(name: str) -> Train:
    def train() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        job = Job(name)
        return job.model, job.optimizer, lambda i: job.step()

    return train


def of_net(name: str) -> Train:
    def train() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        model, x, target = NETS[name].build(torch.float32)
        return of_model(model, lambda i: (x + 0.01 * i, target))()

    return train


def of_model(model: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]]) -> Train:
    def train() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        optimizer = torch.optim.SGD(model.parameters(), 0.05)

        def step(i: int) -> None:
            x, target = batch(i)
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            optimizer.step()

        return model, optimizer, step

    return train


RUNS = {f"run {name}": of_job(name) for name in MODELS} | {f"net {name}": of_net(name) for name in NETS}


@pytest.mark.parametrize("name", RUNS)
def test_the_ledger_of_a_followed_pass_is_that_of_a_traced_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, none = observed(RUNS[name], monkeypatch, always=True)
    found, followed = observed(RUNS[name], monkeypatch)
    assert none == 0
    assert followed >= 3
    assert len(found.snapshots) == len(traced.snapshots) == 5
    for one, other in zip(found.snapshots, traced.snapshots, strict=True):
        assert_same_snapshot(one, other)
    assert found.not_observed == traced.not_observed
