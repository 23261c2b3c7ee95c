"""A watched run that ends by itself where it is doomed, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from undertow.diagnosis import Run, load, watch
from undertow.diagnosis.examples import mlp
from undertow.foundation import InputError, StoppedError


def train(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> int:
    """How many steps were made until something was raised."""
    made = 0
    with run:
        for _ in range(steps):
            x = torch.randn(32, 16)
            optimizer.zero_grad()
            F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            try:
                optimizer.step()
            except StoppedError:
                return made + 1
            made += 1
    return made


@pytest.mark.parametrize("budget", [None, 0.02])
def test_a_flow_that_vanishes_ends_it_at_the_fifth_step(budget: float | None, tmp_path: Path) -> None:
    model = mlp("sigmoid", depth=14)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    run = watch(model, optimizer, budget=budget, path=tmp_path / "run.undertow", stop_on="critical")
    before = [p.detach().clone() for p in model.parameters()]
    assert train(run, model, optimizer, 20) == 5
    assert not torch.equal(before[-1], list(model.parameters())[-1])
    assert run.diagnose().findings[0].kind == "vanishing"
    assert load(run.path or "").diagnose().findings[0].kind == "vanishing"
    train(watch(model, optimizer), model, optimizer, 2)  # nothing of the first is left to end the second


def test_steps_that_are_too_long_end_it_early() -> None:
    model = mlp("relu", depth=3, he=True)
    optimizer = torch.optim.SGD(model.parameters(), 20.0)
    assert train(watch(model, optimizer, stop_on="critical"), model, optimizer, 40) <= 10


def test_a_sound_run_goes_on_and_is_the_same() -> None:
    found = []
    for stop_on in (None, "warning"):
        model = mlp("relu", depth=3, he=True)
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        torch.manual_seed(1)
        assert train(watch(model, optimizer, stop_on=stop_on), model, optimizer, 40) == 40
        found.append([p.detach() for p in model.parameters()])
    assert all(map(torch.equal, *found))


def test_only_a_severity_can_stop() -> None:
    with pytest.raises(InputError, match="'critical' or 'warning'"):
        watch(nn.Linear(2, 2), stop_on="note")  # type: ignore[arg-type]
