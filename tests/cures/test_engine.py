"""Ctrl-C, a budget of time, and what a search tells besides its verdicts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from cure_nets import mlp, training
from engine_nets import CURES, Change, make
from torch import nn

from undertow.cures import Effects, Training, Verdicts, chosen, cure, run
from undertow.cures.trials.backends import TimeUpError
from undertow.cures.trials.effects import measured_effects
from undertow.cures.trials.engine import Engine
from undertow.cures.trials.progress import Bar
from undertow.cures.trials.task import Task
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError

X, Y = next(iter(make(0).batches))  # pyright: ignore


def stopping(at: int):
    """`make` with a metric, and Ctrl-C at its `at`th step."""
    seen = [0]

    def made(seed: int) -> Training:
        def loss(output, target):
            seen[0] += 1
            if seen[0] == at:
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(output, target)

        given = make(seed)
        return replace(given, loss=loss, metric=lambda model: -float(given.loss(model(X), Y)))

    return made


def test_ctrl_c_in_the_control_gives_the_seeds_that_are_done():
    def asked(made) -> Verdicts:
        return cure(made, seeds=(0, 1), cures=["adam"], steps=10, diagnose=False)

    stopped, whole = asked(stopping(17)), asked(stopping(0))
    assert stopped.interrupted
    assert (stopped.seeds, stopped.control) == ((0,), whole.control[:1])
    assert len(stopped) == 0
    with pytest.raises(KeyboardInterrupt):  # before one seed was done: there is nothing to give
        asked(stopping(8))


def test_ctrl_c_in_the_race_gives_its_lanes():
    stopped = cure(stopping(140), seeds=(0, 1), steps=27, budget="6x")
    assert stopped.interrupted
    assert stopped.raced
    assert {v.outcome for v in stopped} <= {"cured", "helped", "no effect"}
    whole = {lane.cure.label: lane for lane in cure(stopping(0), seeds=(0, 1), steps=27, budget="6x").raced}
    for lane in stopped.raced:
        assert lane.metrics.items() <= whole[lane.cure.label].metrics.items()


@dataclass(frozen=True)
class Slow(Change):
    """Sleeps in each forward pass."""

    name = "slow"
    seconds: float = 0.05

    def change(self, training: Training) -> None:
        def sleep(*_: Any) -> None:
            time.sleep(self.seconds)

        training.model.register_forward_hook(sleep)


def test_a_budget_of_time_is_kept_and_what_did_not_fit_is_named():
    began = time.monotonic()
    verdicts = cure(make, seeds=(0, 1), cures=["adam", Slow(seconds=0.5)], steps=20, budget=8, diagnose=False)
    assert time.monotonic() - began < 8 + 3  # the last step, and the verdicts
    assert verdicts.out_of_time
    assert verdicts.unproven == ("slow",)
    assert [v.cure for v in verdicts] == ["adam"]
    assert not verdicts.interrupted


def test_a_budget_too_small_for_one_training_is_an_error():
    def slow(seed: int) -> Training:
        return Slow(seconds=0.2).apply(make(seed))

    with pytest.raises(InputError, match="a budget of 2 s"):
        cure(slow, seeds=(0,), cures=["adam"], steps=30, budget=2, diagnose=False)


def test_what_a_search_tells_besides():
    verdicts = cure(make, seeds=(0, 1), cures=["relu", "batch_norm"], steps=24)
    relu, norm = verdicts["relu"], verdicts["batch_norm"]
    assert relu.change == CURES[0]
    assert relu.cost >= 2
    assert verdicts.cost == pytest.approx(2 + sum(v.cost for v in (relu, norm)), abs=4)  # and the slower rates
    for verdict in (relu, norm):
        for metrics, after in zip(verdict.metrics, verdict.afters, strict=True):
            assert metrics[0][0] == 0
            assert metrics[-1] == (24, after)
            assert [step for step, _ in metrics] == sorted({step for step, _ in metrics})
    assert verdicts.untrained == tuple(points[0][1] for points in verdicts.control_metrics)
    assert verdicts.findings
    assert {f.kind for f in verdicts.findings} == set(verdicts.control_findings)
    assert relu.effects
    assert norm.effects
    assert relu.effects.parameters == 1
    assert norm.effects.parameters_after - norm.effects.parameters_before == 6 * 2 * 8
    assert norm.effects.kept > 1
    assert 0.1 < relu.effects.step_ratio < 10


def test_what_is_kept_for_the_backward_pass():
    """Of Linear → ReLU → Linear: each input once, ReLU's output, and what the loss keeps."""
    given = training(mlp(nn.ReLU, depth=1), shape=(6,))
    found = measured_effects(given, given, 10)
    batch = 16
    inputs, hidden, logits = 6 * 4 * batch, 8 * 4 * batch, 3 * 4 * batch
    assert found.kept_before == found.kept_after
    data = given.batches[0][0].untyped_storage().nbytes()  # pyright: ignore
    assert found.kept_before >= hidden + logits
    assert found.kept_before <= data + inputs + hidden + 3 * logits + 16 * batch + 100_000
    twice = training(nn.Sequential(*mlp(nn.ReLU, depth=1), nn.Linear(3, 3)), shape=(6,))
    assert measured_effects(given, twice, 10).kept_after - found.kept_after == logits


def test_measuring_changes_no_number():
    plain = run(make(0), 20, seed=3, cure=chosen("relu")[0])
    told = run(make(0), 20, seed=3, cure=chosen("relu")[0], points=7, effects=True)
    assert (plain.losses, plain.metric, plain.findings) == (told.losses, told.metric, told.findings)
    assert isinstance(told.effects, Effects)
    assert [step for step, _ in told.metrics] == [0, 3, 6, 9, 11, 14, 17, 20]


def test_the_metric_on_the_way_leaves_frozen_parts_frozen():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    modes = []

    def loss(model, batch):
        model[1].eval()
        if model.training:
            modes.append(model[1].training)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    run(training(model, loss=loss), 8, points=4)
    assert not any(modes)


def test_a_schedule_is_stepped():
    given = training(mlp(nn.Tanh), metric=lambda model: 0.0)
    given.scheduler = torch.optim.lr_scheduler.LambdaLR(given.optimizer, lambda step: float(step < 3))
    plain = run(training(given.model, metric=lambda model: 0.0), 10).losses
    stopped = run(given, 10).losses
    assert stopped[:4] == plain[:4]
    assert stopped[4:] != plain[4:]


class Answers:
    """A backend that says what it is asked, and runs out of time."""

    workers, deadline = 1, None

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, []

    def run(self, tasks, alive, after):
        for task in tasks:
            if len(self.asked) == self.most:
                raise TimeUpError
            self.asked.append(task.key)
            yield task, Trial(0.5, (1.0,) * (task.until or 9))

    def close(self) -> None: ...


def test_nothing_is_asked_twice_and_the_cost_counts_what_goes_on_once():
    backend = Answers(99)
    engine = Engine(9, backend, None, Bar())  # pyright: ignore[reportArgumentType]
    adam = chosen("adam")[0]
    engine.part([None, adam], 3, seed=5)
    engine.release([None], 5)
    engine.part([adam], 9, seed=5)
    assert engine.cost() == pytest.approx((3 + 9) / 9)
    engine.whole([None, adam], (0, 1))
    engine.whole([adam], (0, 1, 2))
    assert len(backend.asked) == len(set(backend.asked)) == 3 + 4 + 1
    assert engine.cost(adam, (0, 1, 2)) == 3
    assert engine.trial(adam, 3) is None


def test_what_was_answered_before_the_time_was_over_is_known():
    engine = Engine(9, Answers(2), None, Bar())  # pyright: ignore[reportArgumentType]
    with pytest.raises(TimeUpError):
        engine.whole([None], (0, 1, 2))
    assert [engine.trial(None, seed) is not None for seed in (0, 1, 2)] == [True, True, False]
    assert Task(None, 0).key in engine.answers
    assert math.isinf(engine.left)
