"""Whether a run has learned more than the mean of its targets."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from undertow.diagnosis import judge, watch
from undertow.diagnosis.examples import classify, mlp, observed
from undertow.diagnosis.learning import ENOUGH, Learning, learning
from undertow.diagnosis.recurrent_examples import first_or_last


def fitted(teaches: bool, mean: float, steps: int = 60, scale: float = 1.0, far: float = 1.0) -> Learning | None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    with torch.no_grad():
        model[2].weight *= far
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    with watch(model, optimizer, budget=None) as run:
        for _ in range(steps):
            x = torch.randn(64, 4)
            y = (x[:, 0] if teaches else torch.randn(64)) + mean
            optimizer.zero_grad()
            (scale * F.mse_loss(model(x).squeeze(1), y)).backward()
            optimizer.step()
    return learning(run.recording)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_a_teacher_is_learned_and_a_mean_alone_is_not(scale: float) -> None:
    learned, mean_only = fitted(True, 3.0, scale=scale), fitted(False, 3.0, scale=scale)
    assert learned is not None
    assert mean_only is not None
    assert learned.any
    assert learned.share > 0.5
    assert not mean_only.any


def test_to_lose_an_output_that_was_too_large_is_not_to_learn() -> None:
    shrunk = fitted(False, 0.0, far=50.0)
    assert shrunk is not None
    assert not shrunk.any


def test_a_short_run_is_not_asked() -> None:
    assert fitted(True, 0.0, steps=ENOUGH - 1) is None


def test_a_run_that_left_the_number_format_has_learned_nothing() -> None:
    recording = observed(classify(mlp("relu", depth=3, he=True, gain=3.0), lr=1e6, steps=30))
    assert any(not math.isfinite(s.gradient_norm) for s in recording.steps)
    assert learning(recording) == Learning(0.0, 0.0)


def scaled(example: Any, factor: float) -> Any:
    example.loss = lambda output, target: factor * F.mse_loss(output, target)
    return example


@pytest.mark.parametrize("factor", [1e-6, 1e5])
def test_the_scale_of_the_loss_changes_nothing_that_is_said_along_time(factor: float) -> None:
    for reads_first in (True, False):
        said = [
            [(f.kind, f.rule, f.severity, f.cause, f.where, f.step) for f in judge(observed(example)).findings]
            for example in (
                first_or_last(reads_first=reads_first),
                scaled(first_or_last(reads_first=reads_first), factor),
            )
        ]
        assert said[0] == said[1]


def test_before_a_run_is_old_enough_only_what_rounding_loses_is_said() -> None:
    def after(steps: int, gain: float) -> Any:
        example = first_or_last(reads_first=True, gain=gain)
        example.batches = example.batches[:steps]
        return judge(observed(example))

    found = [f for f in after(5, 0.4).findings if f.rule == "vanishing_through_time"]
    assert [(f.severity, f.step) for f in found] == [("warning", 0)]
    unsure = after(5, 0.7)
    assert unsure.findings == ()
    assert "memory_needed" in [n.lacks for n in unsure.not_judged]
