"""The rate: too high, too low, and what only looks so.  Recordings by hand where a real run would be long or chancy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Finding, NotJudged, judge, watch
from undertow.diagnosis.course import course
from undertow.diagnosis.examples import mlp
from undertow.diagnosis.movement import lost, paths
from undertow.diagnosis.rules.too_small_lr import TooSmallLearningRate
from undertow.diagnosis.rules.unstable_lr import UnstableLearningRate
from undertow.record import (
    Entry,
    Ledger,
    LossReading,
    ParameterReading,
    Reading,
    Recording,
    Site,
    Snapshot,
    StepReading,
)

HIGH, LOW = UnstableLearningRate(), TooSmallLearningRate()


def size(rms: float, count: int = 4, mean: float = 0.0) -> Reading:
    return Reading(count, mean, rms, 2 * rms)


def recording(losses: Iterable[float], reach: float = 0.1, change: float = 1e-3) -> Recording:
    """Each step measured: a weight of norm 2 whose gradient promises `reach` times the loss."""
    made = Recording(parameters={})
    entry = Entry(Site("first", "linear", 0, "weights"), None, size(1.0), size(1.0))
    for step, loss in enumerate(losses):
        update = size(change)
        gradient = size(reach * abs(loss) / (4 * change), mean=1.0 + 0.01 * (step % 2))
        reading = ParameterReading(size(1.0), gradient, update)
        made.add(StepReading(step, gradient.norm, 0.1))
        made.add(LossReading(step, loss))
        made.add(Snapshot(step, Ledger((entry,), step), 64, size(1.0), {"first.weight": reading}))
    return made


def high(made: Recording) -> list[tuple[str, int]]:
    return [(f.severity, f.step) if isinstance(f, Finding) else (f.lacks, -1) for f in HIGH.check(made)]


FALL = [2.0 * 0.97**k for k in range(100)]


@pytest.mark.parametrize(
    ("losses", "reach", "found"),
    [
        (FALL, 0.1, []),
        (FALL, 20.0, []),  # long steps that work
        ([2.0, 20.0, 60.0, 30.0, 10.0, 3.0, *FALL], 20.0, []),  # the catapult
        ([2.0, 20.0, 300.0, 9000.0], 20.0, [("critical", 0)]),
        ([2.0, 20.0, 300.0, 9000.0], 0.1, []),  # rises, but not by the steps
        ([2.0, *[6.0] * 30], 20.0, [("warning", 0)]),
        ([2.0, *[6.0] * 10], 20.0, []),  # may come back
        ([2.0, *[6.0] * 30], 0.1, []),
        ([*FALL, *[1.9] * 25], 20.0, [("warning", 99)]),  # all is lost again
        ([*FALL, *[1.9] * 25, *FALL[20:]], 20.0, []),  # a spike that recovers
        ([*FALL, *[1.9] * 25], 0.1, []),  # another task
        ([2.0, 40.0, math.nan], 20.0, [("critical", 0)]),
        ([2.0, 2.1, math.nan], 1.0, []),
        ([-1.0, 3.0, 900.0], 20.0, [("signed_losses", -1)]),
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_steps_that_are_too_long(losses: list[float], reach: float, found: list[tuple[str, int]], scale: float) -> None:
    assert high(recording((scale * loss for loss in losses), reach)) == found


@pytest.mark.parametrize("length", [121, 125, 130])
def test_a_rise_that_stays_is_told_within_twenty_steps(length: int) -> None:
    losses = [*FALL, *[1.9] * 40][:length]
    assert high(recording(losses, 20.0)) == [("warning", 99)]


def test_clipping_does_not_shorten_the_reach() -> None:
    plain, clipped = recording([2.0, 2.0], 8.0), recording([2.0, 2.0], 0.8)
    norm = clipped.steps[0].gradient_norm
    clipped.steps[:] = [StepReading(s.step, norm, 0.1, unclipped_norm=10 * norm) for s in clipped.steps]
    assert course(clipped).reaches == pytest.approx(course(plain).reaches)


def low(made: Recording) -> list[str]:
    return [f.severity if isinstance(f, Finding) else f.lacks for f in LOW.check(made)]


NOISE = [2.0 + 0.1 * math.sin(5 * k) for k in range(400)]


@pytest.mark.parametrize(
    ("losses", "reach", "change", "found"),
    [
        (NOISE, 1e-6, 1e-7, ["warning"]),
        (NOISE[:30], 1e-6, 1e-7, ["warning"]),
        (NOISE[:30], 1e-4, 1e-4, []),  # too early to say
        (NOISE, 1e-2, 1e-3, []),  # nothing to learn
        ([2.0 * 0.99**k for k in range(200)], 1e-3, 1e-6, []),  # it learns all the same
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_steps_that_move_nothing(
    losses: list[float], reach: float, change: float, found: list[str], scale: float
) -> None:
    assert low(recording((scale * loss for loss in losses), reach, change)) == found


@pytest.mark.parametrize(("change", "found"), [(1e-5, NotJudged), (1e-7, Finding)], ids=["usual", "endless"])
def test_a_warm_up_is_waited_for_unless_ten_times_as_long_a_one_would_not_do(change: float, found: type) -> None:
    made = recording(NOISE[:120], 1e-6, change)
    made.steps[:] = [StepReading(s.step, s.gradient_norm, 1e-9 * s.step) for s in made.steps]
    (said,) = LOW.check(made)
    assert isinstance(said, found)


def test_steps_between_measured_ones_count_with_their_rate() -> None:
    made = recording([2.0] * 11, change=1e-3)
    made.snapshots[:] = [made.snapshots[0], made.snapshots[10]]
    assert paths(made)["first.weight"] == pytest.approx(11e-3)
    made.steps[5] = StepReading(5, 1.0, 0.3)
    assert paths(made)["first.weight"] == pytest.approx(31e-3)


def trained(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, budget: float | None, data: Callable[[], Tensor]
) -> Recording:
    with watch(model, optimizer, budget=budget) as run:
        for _ in range(steps):
            x = data()
            optimizer.zero_grad()
            F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
    return run.recording


def inputs(dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    return lambda: torch.randn(64, 16).to(dtype)


@pytest.mark.parametrize("budget", [None, 0.02])
def test_a_model_that_has_converged_has_nowhere_to_go(budget: float | None) -> None:
    model = mlp("relu", depth=2, he=True)
    trained(model, torch.optim.Adam(model.parameters(), 0.02), 150, 0.0, inputs())
    again = trained(model, torch.optim.SGD(model.parameters(), 1e-5), 120, budget, inputs())
    assert low(again) == []
    fresh = mlp("relu", depth=2, he=True)
    assert low(trained(fresh, torch.optim.SGD(fresh.parameters(), 1e-6), 120, budget, inputs())) == ["warning"]


@pytest.mark.parametrize("budget", [None, 0.02])
def test_a_rate_that_is_too_high_is_told_within_five_steps(budget: float | None) -> None:
    model = mlp("relu", depth=3, he=True)
    torch.manual_seed(3)
    made = trained(model, torch.optim.SGD(model.parameters(), 5.0), 5, budget, inputs())
    assert [f.kind for f in judge(made).findings] == ["unstable_lr"]


def test_one_that_is_raised_later_within_twenty() -> None:
    model = mlp("relu", depth=3, he=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with watch(model, optimizer, budget=None) as run:
        for step in range(80):
            optimizer.param_groups[0]["lr"] = 0.05 if step < 60 else 20.0
            x = torch.randn(64, 16)
            optimizer.zero_grad()
            F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
            if step == 59:
                assert run.diagnose().findings == ()
    (finding,) = run.diagnose().findings
    assert (finding.kind, finding.severity) == ("unstable_lr", "critical")
    assert 60 <= finding.step < 65


@pytest.mark.parametrize("rate", [1e-6, 1e-2])
def test_updates_lost_in_the_rounding_of_bfloat16(rate: float) -> None:
    model = mlp("relu", depth=2, he=True).bfloat16()
    made = trained(model, torch.optim.Adam(model.parameters(), rate), 40, None, inputs(torch.bfloat16))
    share = lost(made.recent)
    assert (share > 0.9, bool(low(made))) == ((True, True) if rate < 1e-4 else (False, False))
