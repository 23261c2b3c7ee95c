"""Every stage of the gradient, in every kind of loop, against what the loop itself computes."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loops import (
    STEPS,
    Truth,
    accumulated,
    batches,
    by_hand,
    clip_data,
    clip_replacing,
    clipped,
    loss_of,
    net,
    norm,
    plain,
)
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from undertow.diagnosis import watch
from undertow.probe.stepping.inventory import Inventory
from undertow.probe.stepping.loop import Loop
from undertow.record import Recording, StepReading

pytestmark = pytest.mark.usefixtures("norms_of_every_step")
near = pytest.approx
CLIPS = {
    "norm": (nn.utils.clip_grad_norm_, 0.05),
    "value": (nn.utils.clip_grad_value_, 0.01),
    "data": (clip_data, 0.05),
    "replacing": (clip_replacing, 0.05),
}


def norms(recording: Recording) -> list[float]:
    return [s.gradient_norm for s in recording.steps]


def rms(ledger: Any) -> list[float]:
    return [e.backward_rms for e in ledger]


# ------------------------------------------------------------ accumulation


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("none", [True, False])
def test_accumulated_passes_are_counted_and_the_ledger_is_that_of_the_first(budget: float | None, none: bool) -> None:
    truth = Truth(net())
    optimizer = SGD(truth.model.parameters(), 0.1)
    with watch(truth.model, optimizer, budget=budget) as run:
        accumulated(truth, optimizer, none=none)
    recording = run.recording
    assert norms(recording) == near(truth.received, rel=1e-5)
    assert [s.passes for s in recording.steps] == truth.passes
    assert [s.unclipped_norm for s in recording.steps] == [None] * STEPS
    for snapshot in recording.snapshots:
        assert snapshot.stage.passes == 3
        assert snapshot.samples == 48
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)
        found = math.hypot(*(r.gradient.norm for r in snapshot.parameters.values() if r.gradient))
        assert found == near(truth.received[snapshot.step], rel=1e-5)


def test_the_last_step_of_an_epoch_may_have_fewer_passes() -> None:
    model, data = net(), batches(11)
    optimizer = SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(data):
            loss_of(model, x, y).backward()
            if index % 4 == 3 or index == 10:
                optimizer.step()
                optimizer.zero_grad()
    assert [s.passes for s in run.recording.steps] == [4, 4, 3]


def test_gradients_that_nothing_zeroes_are_told() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(9)):
            if index > 6:
                optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
    assert [s.carried for s in run.recording.steps] == [False] + [True] * 6 + [False] * 2


# ------------------------------------------------------------ clipping


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("name", CLIPS)
def test_the_norm_before_and_after_clipping(name: str, budget: float | None) -> None:
    clip, limit = CLIPS[name]
    truth = Truth(net())
    optimizer = SGD(truth.model.parameters(), 0.1)
    with watch(truth.model, optimizer, budget=budget) as run:
        clipped(truth, optimizer, limit, clip)
    steps = run.recording.steps
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert [s.unclipped_norm for s in steps] == near(truth.left, rel=1e-5)
    assert all(s.clip_ratio < 0.9 for s in steps)
    for snapshot in run.recording.snapshots:
        found = math.hypot(*(r.gradient.norm for r in snapshot.parameters.values() if r.gradient))
        assert found == near(truth.received[snapshot.step], rel=1e-5)


def test_a_clip_without_effect_is_told_from_none() -> None:
    truth = Truth(net())
    optimizer = SGD(truth.model.parameters(), 0.1)
    with watch(truth.model, optimizer, budget=0.0) as run:
        clipped(truth, optimizer, 1e9, nn.utils.clip_grad_norm_)
    assert [s.clip_ratio for s in run.recording.steps] == near([1.0] * STEPS)
    assert all(s.unclipped_norm is not None for s in run.recording.steps)


@pytest.mark.parametrize("none", [True, False])
def test_a_clip_after_the_step_is_told(none: bool) -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)

    def train(late: bool) -> list[StepReading]:
        with watch(model, optimizer, budget=None) as run:
            for x, y in batches():
                optimizer.zero_grad(set_to_none=none)
                loss_of(model, x, y).backward()
                optimizer.step()
                if late:
                    nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        return run.recording.steps

    assert [s.changed_late for s in train(late=True)] == [False] + [True] * (STEPS - 1)
    assert not any(s.changed_late for s in train(late=False))


def test_zeros_and_sums_of_many_steps_are_no_late_change() -> None:
    """Between two measured steps a gradient that stays in its place is written to again and again."""
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=0.0) as run:
        for x, y in batches(20):
            optimizer.zero_grad(set_to_none=False)
            loss_of(model, x, y).backward()
            optimizer.step()
    assert run.recording.steps_measured < 15
    assert not any(s.changed_late for s in run.recording.steps)


# ------------------------------------------------------------ loss scaling


def scaled_loop(model: nn.Module, optimizer: Any, scaler: Any, truth: Truth, clip: float | None, bad: set[int]) -> None:
    for index, (x, y) in enumerate(batches(8)):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        twin = copy.deepcopy(model)
        loss_of(twin, x, y).backward()
        truth.left.append(norm(twin.parameters()))
        scale = scaler.get_scale()
        truth.scales.append(scale)
        scaler.scale(loss * (math.inf if index in bad else 1.0)).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("bad", [set(), {0, 1, 6}])
def test_a_loss_scaler_is_seen_through(fused: bool, clip: float | None, budget: float | None, bad: set[int]) -> None:
    model = net()
    optimizer = Adam(model.parameters(), 1e-2, fused=fused)
    truth, scaler = Truth(model), torch.amp.GradScaler("cpu", init_scale=1024.0)
    with watch(model, optimizer, budget=budget) as run:
        scaled_loop(model, optimizer, scaler, truth, clip, bad)
    steps = run.recording.steps
    assert [s.step for s in steps] == list(range(8))
    assert [s.skipped for s in steps] == [index in bad for index in range(8)]
    assert [s.loss_scale for s in steps] == truth.scales
    assert run.recording.optimizers == ["Adam"]
    for s, left in zip(steps, truth.left, strict=True):
        if s.skipped:
            assert not math.isfinite(s.gradient_norm)
        elif clip is None:
            assert (s.gradient_norm, s.unclipped_norm) == (near(left, rel=1e-5), None)
        else:
            assert (s.gradient_norm, s.unclipped_norm) == (near(clip, rel=1e-4), near(left, rel=1e-5))
    for snapshot in run.recording.snapshots:
        assert snapshot.stage.loss_scale == truth.scales[snapshot.step]
        if snapshot.step not in bad:
            found = math.hypot(*(r.gradient.norm for r in snapshot.parameters.values() if r.gradient))
            assert found == near(steps[snapshot.step].gradient_norm, rel=1e-5)
    assert [f.kind for f in run.diagnose().findings if f.severity != "note"] == []


@pytest.mark.parametrize("none", [True, False])
@pytest.mark.parametrize("budget", [None, 0.0])
def test_steps_that_the_loop_skips_by_hand(none: bool, budget: float | None) -> None:
    model, bad = net(), {2, 9, 10}
    optimizer = SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=budget) as run:
        for index, (x, y) in enumerate(batches(12)):
            optimizer.zero_grad(set_to_none=none)
            (loss_of(model, x, y) * (math.nan if index in bad else 1.0)).backward()
            if math.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 10.0)):
                optimizer.step()
    assert [s.step for s in run.recording.steps if s.skipped] == sorted(bad)
    assert [s.step for s in run.recording.steps] == list(range(12))
    assert [f.kind for f in run.diagnose().findings if f.severity != "note"] == []


def test_a_run_that_skips_every_step_is_a_finding() -> None:
    model, scaler = net(), torch.amp.GradScaler("cpu")
    optimizer = SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches(30):
            optimizer.zero_grad()
            scaler.scale(loss_of(model, x * math.nan, y)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert [f.kind for f in run.diagnose().findings] == ["nonfinite"]


# ------------------------------------------------------------ several optimizers


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.hidden(x)))


@pytest.mark.parametrize("budget", [None, 0.0])
def test_two_optimizers_that_share_a_model_make_one_iteration(budget: float | None) -> None:
    model = Two()
    first, second = SGD(model.hidden.parameters(), 0.1), Adam(model.head.parameters(), 1e-2)
    truth = []
    with watch(model, budget=budget) as run:
        for x, y in batches():
            first.zero_grad()
            second.zero_grad()
            loss_of(model, x, y).backward()
            truth += [norm(model.hidden.parameters()), norm(model.head.parameters())]
            first.step()
            second.step()
    recording = run.recording
    assert recording.optimizers == ["SGD", "Adam"]
    assert [(s.step, s.optimizer, s.learning_rate) for s in recording.steps] == [
        (step, *of) for step in range(STEPS) for of in ((0, 0.1), (1, 1e-2))
    ]
    assert norms(recording) == near(truth, rel=1e-5)
    last = recording.snapshots[-1].parameters
    assert all(reading.update is not None and reading.gradient is not None for reading in last.values())
    assert {name: state.optimizer for name, state in recording.parameters.items()} == {
        "hidden.weight": 0,
        "hidden.bias": 0,
        "head.weight": 1,
        "head.bias": 1,
    }


def gan(model: str, budget: float | None, several: int = 1) -> tuple[Recording, list[float]]:
    torch.manual_seed(3)
    g = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))
    d = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    of = {"g": Adam(g.parameters(), 1e-3), "d": Adam(d.parameters(), 1e-3)}
    truth: dict[str, list[float]] = {"g": [], "d": []}
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    with watch({"g": g, "d": d}[model], budget=budget) as run:
        for index, (real, _) in enumerate(batches(8)):
            fake = g(torch.randn(16, 4))
            of["d"].zero_grad()
            loss = F.binary_cross_entropy_with_logits(d(real), ones)
            (loss + F.binary_cross_entropy_with_logits(d(fake.detach()), zeros)).backward()
            truth["d"].append(norm(d.parameters()))
            of["d"].step()
            if index % several == 0:
                of["g"].zero_grad()
                F.binary_cross_entropy_with_logits(d(fake), ones).backward()
                truth["g"].append(norm(g.parameters()))
                of["g"].step()
    return run.recording, truth[model]


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("several", [1, 2])
@pytest.mark.parametrize("model", ["g", "d"])
def test_a_gan_has_the_steps_of_each_network(model: str, several: int, budget: float | None) -> None:
    recording, truth = gan(model, budget, several)
    assert norms(recording) == near(truth, rel=1e-5)
    assert [s.step for s in recording.steps] == list(range(len(truth)))
    assert {s.passes for s in recording.steps} == {1}
    assert not any(s.skipped or s.carried for s in recording.steps)
    for snapshot in recording.snapshots:
        assert snapshot.samples == (32 if model == "d" else 16)
        assert snapshot.ledger.path


# ------------------------------------------------------------ double backward


@pytest.mark.parametrize("penalty_first", [False, True])
def test_a_gradient_penalty_is_not_mixed_into_the_ledger(penalty_first: bool) -> None:
    torch.manual_seed(4)
    d = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = Adam(d.parameters(), 1e-3)

    def penalty(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
        return 10 * (slope.norm(dim=1) - 1).square().mean()

    truth, received = [], []
    with watch(d, optimizer, budget=None) as run:
        for x, _ in batches():
            optimizer.zero_grad()
            extra = penalty(x) if penalty_first else None
            loss = d(x - 1).mean() - d(x).mean()
            extra = penalty(x) if extra is None else extra
            (loss + extra).backward()
            received.append(norm(d.parameters()))
            h = d[0](x - 1)
            gradients = torch.autograd.grad(d[2](torch.tanh(h)).mean(), h)
            truth.append(gradients[0].double().square().mean().sqrt().item())
            optimizer.step()
    assert norms(run.recording) == near(received, rel=1e-5)
    assert {s.passes for s in run.recording.steps} == {1}
    assert [rms(s.ledger)[0] for s in run.recording.snapshots] == near(truth, rel=1e-5)


def test_gradients_of_the_input_are_no_pass() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches():
            optimizer.zero_grad()
            loss = loss_of(model, x, y, truth)
            loss.backward(retain_graph=True)
            torch.autograd.grad(loss, model[0].weight, retain_graph=True)  # type: ignore[arg-type]
            x.requires_grad_()
            torch.autograd.grad(model(x).sum(), x)
            optimizer.step()
    assert [s.passes for s in run.recording.steps] == [1] * STEPS
    for snapshot in run.recording.snapshots:
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)


def test_a_retained_graph_is_gone_through_twice() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches():
            optimizer.zero_grad()
            loss = loss_of(model, x, y, truth)
            loss.backward(retain_graph=True)
            (loss * 100).backward()
            truth.received.append(norm(model.parameters()))
            optimizer.step()
    assert [s.passes for s in run.recording.steps] == [2] * STEPS
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    for snapshot in run.recording.snapshots:
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)


def test_training_with_autograd_grad_alone() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches():
            found = torch.autograd.grad(loss_of(model, x, y, truth), list(model.parameters()))
            for p, g in zip(model.parameters(), found, strict=True):
                p.grad = g
            truth.received.append(norm(model.parameters()))
            optimizer.step()
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    for snapshot in run.recording.snapshots:
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)


def test_passes_without_a_step_and_evaluations_count_for_nothing() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches():
            for _ in range(3):  # a gradient check, dropped each time
                optimizer.zero_grad()
                (loss_of(model, x, y) * 7).backward()
            model.eval()
            loss_of(model, x, y).backward()
            with torch.no_grad():
                model(x)
            model.train()
            optimizer.zero_grad()
            loss_of(model, x, y, truth).backward()
            truth.received.append(norm(model.parameters()))
            optimizer.step()
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert [s.passes for s in run.recording.steps] == [1] * STEPS
    assert not any(s.skipped for s in run.recording.steps)
    for snapshot in run.recording.snapshots:
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)


def test_forward_passes_without_a_backward_pass_don_t_pile_up() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches(3):
            for _ in range(20):
                model(x)
            optimizer.zero_grad()
            loss_of(model, x, y, truth).backward()
            optimizer.step()
    assert [rms(s.ledger) for s in run.recording.snapshots] == [near(first, rel=1e-5) for first in truth.first]


# ------------------------------------------------------------ closures


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("kind", ["lbfgs", "sgd"])
def test_the_gradients_of_a_closure_are_read_at_the_end_of_the_step(kind: str, budget: float | None) -> None:
    model = net()
    truth = Truth(model)
    optimizer: Any = (
        torch.optim.LBFGS(model.parameters(), 0.5, max_iter=4) if kind == "lbfgs" else SGD(model.parameters(), 0.1)
    )
    with watch(model, optimizer, budget=budget) as run:
        for x, y in batches():
            truth.passes.append(0)

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, x, y)
                loss.backward()
                truth.passes[-1] += 1
                return loss

            optimizer.step(closure)
            truth.received.append(norm(model.parameters()))
    assert [s.passes for s in run.recording.steps] == truth.passes
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert not any(s.carried or s.skipped for s in run.recording.steps)
    assert all(r.update for s in run.recording.snapshots for r in s.parameters.values())


@pytest.mark.parametrize("budget", [None, 0.0])
def test_a_clip_inside_the_closure_and_two_optimizers_with_one_each(budget: float | None) -> None:
    model = Two()
    optimizers = [SGD(model.hidden.parameters(), 0.1), SGD(model.head.parameters(), 0.2)]
    left, received = [], []
    with watch(model, budget=budget) as run:
        for x, y in batches():
            for optimizer in optimizers:

                def closure(x: Tensor = x, y: Tensor = y, optimizer: Any = optimizer) -> Tensor:
                    model.zero_grad()
                    loss = loss_of(model, x, y)
                    loss.backward()
                    own = optimizer.param_groups[0]["params"]
                    left.append(norm(own))
                    nn.utils.clip_grad_norm_(own, 0.05)
                    received.append(norm(own))
                    return loss

                optimizer.step(closure)
    steps = run.recording.steps
    assert [(s.step, s.optimizer) for s in steps] == [(n, n % 2) for n in range(2 * STEPS)]
    assert norms(run.recording) == near(received, rel=1e-5)
    assert [s.unclipped_norm for s in steps] == near(left, rel=1e-5)
    assert {s.passes for s in steps} == {1}


# ------------------------------------------------------------ checkpointing


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool, whole: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3))
        if whole:
            self.stem.requires_grad_(False)
            self.head.requires_grad_(False)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).requires_grad_()
        for block in self.blocks:
            x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("kind", ["reentrant", "whole", "not"])
def test_a_pass_through_checkpoints_counts_once(kind: str, micro: int, budget: float | None) -> None:
    model = Checkpointed(kind != "not", whole=kind == "whole")
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=budget) as run:
        accumulated(truth, optimizer, micro=micro)
    assert [s.passes for s in run.recording.steps] == [micro] * STEPS
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    for snapshot in run.recording.snapshots:
        sites = [e.site.module for e in snapshot.ledger]
        assert ("blocks.0.1" in sites) == (kind == "not")
    if kind != "not":
        assert "CheckpointFunction" in run.recording.not_observed


# ------------------------------------------------------------ optimizers that are none of torch's


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("data", [True, False])
def test_a_step_by_hand(data: bool, budget: float | None) -> None:
    truth = Truth(net())
    with watch(truth.model, budget=budget) as run:
        by_hand(truth, data=data)
    recording = run.recording
    assert recording.optimizers == ["unknown"]
    assert norms(recording) == near(truth.received, rel=1e-5)
    assert all(math.isnan(s.learning_rate) and s.passes == 1 for s in recording.steps)
    assert len(recording.snapshots) >= 5
    reading = recording.snapshots[2].parameters["0.weight"]
    assert reading.update is not None
    assert reading.gradient is not None
    assert reading.update.rms == near(0.1 * reading.gradient.rms, rel=1e-3)


# ------------------------------------------------------------ sparse gradients, large parameters


def test_sparse_gradients_are_read_by_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Embedding(1000, 8, sparse=True), nn.Flatten(), nn.Linear(32, 3))
    optimizers = [torch.optim.SparseAdam(model[0].parameters()), Adam(model[2].parameters())]

    def refuse(_self: Tensor, *_args: Any) -> Tensor:
        raise AssertionError("a gradient was made dense")

    monkeypatch.setattr(Tensor, "to_dense", refuse)
    truth, rows = [], 0
    with watch(model, budget=None) as run:
        for index in range(4):
            words = torch.randint(0, 1000, (16, 4), generator=torch.Generator().manual_seed(index))
            rows = rows or len(words.unique())
            for o in optimizers:
                o.zero_grad()
            model(words).square().mean().backward()
            truth += [norm(model[0].parameters()), norm(model[2].parameters())]
            for o in optimizers:
                o.step()
    assert norms(run.recording) == near(truth, rel=1e-5)
    reading = run.recording.snapshots[0].parameters["0.weight"].gradient
    assert reading is not None
    assert reading.count == 8000
    assert reading.zeros >= 8000 - 8 * rows
    state = run.recording.parameters["0.weight"]
    assert (state.status, state.rows) == ("trained", (rows, 1000))


UPDATES: dict[str, Any] = {
    "adam": lambda p: Adam(p, 1e-2),
    "fused": lambda p: Adam(p, 1e-2, fused=True),
    "foreach": lambda p: AdamW(p, 1e-2, foreach=True, weight_decay=0.1),
    "momentum": lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "closure": lambda p: Adam(p, 1e-2),
}


@pytest.mark.parametrize("name", UPDATES)
def test_the_update_is_what_the_weights_changed_by(name: str) -> None:
    torch.manual_seed(7)
    tie = nn.Linear(300, 300, bias=False)
    model = nn.Sequential(nn.Linear(6, 300), tie, nn.Tanh(), tie, nn.Linear(300, 3))
    optimizer = UPDATES[name](model.parameters())
    truth: list[dict[str, float]] = []

    def closure(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        return loss

    with watch(model, optimizer, budget=None) as run:
        for x, y in batches():
            before = {n: p.detach().clone() for n, p in model.named_parameters()}
            if name == "closure":
                optimizer.step(lambda x=x, y=y: closure(x, y))
            else:
                closure(x, y)
                optimizer.step()
            after = dict(model.named_parameters())
            truth.append({n: ((after[n] - b).norm() / b.norm()).item() for n, b in before.items()})
    assert run.recording.tied == {"1.weight": ("3.weight",)}
    for snapshot, changes in zip(run.recording.snapshots, truth, strict=True):
        for parameter, change in changes.items():
            close = 0.05 if parameter == "1.weight" else 1e-4  # 90,000 values: a sample
            assert snapshot.parameters[parameter].relative_update == near(change, rel=close)


# ------------------------------------------------------------ what becomes of parameters


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.body, self.frozen, self.unused = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.silent, self.loose, self.head = nn.Linear(6, 6, bias=False), nn.Parameter(torch.ones(6)), nn.Linear(6, 3)
        self.late: nn.Parameter | None = None
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.frozen(self.body(x))) * self.loose
        if self.late is not None:
            x = x + self.late
        return self.head(x + 0 * self.silent(x))


def test_what_becomes_of_each_parameter() -> None:
    model = Parts()
    optimizer = SGD([p for n, p in model.named_parameters() if p.requires_grad and n != "loose"], 0.1)
    with watch(model, optimizer, budget=None) as run:
        for x, y in batches(3):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
        states = dict(run.recording.parameters)
        model.late = nn.Parameter(torch.zeros(6))
        model.frozen.requires_grad_(True)
        optimizer.add_param_group({"params": [model.late, *model.frozen.parameters()]})
        for x, y in batches(9):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
    assert {n: (s.status, s.optimizer) for n, s in states.items()} == {
        "loose": ("trained", None),
        "body.weight": ("trained", 0),
        "body.bias": ("trained", 0),
        "frozen.weight": ("frozen", None),
        "frozen.bias": ("frozen", None),
        "unused.weight": ("unused", 0),
        "unused.bias": ("unused", 0),
        "silent.weight": ("zero", 0),
        "head.weight": ("trained", 0),
        "head.bias": ("trained", 0),
    }
    assert run.recording.parameters["late"].status == "trained"
    assert run.recording.parameters["frozen.weight"].status == "trained"
    assert "late" in run.recording.snapshots[-1].parameters
    assert run.recording.snapshots[-1].parameters["unused.weight"].gradient is None


def test_lazy_modules_are_observed_from_their_first_pass_on() -> None:
    torch.manual_seed(9)
    model = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3))
    optimizer = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, optimizer, budget=0.0) as run:
        for x, y in batches():
            optimizer.zero_grad()
            for part in x.split(8):
                F.cross_entropy(model(part), y[:8]).backward()
            truth.received.append(norm(model.parameters()))
            optimizer.step()
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert [s.passes for s in run.recording.steps] == [2] * STEPS
    assert set(run.recording.snapshots[0].parameters) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_parameters_that_are_replaced_are_noticed() -> None:
    model = net()
    optimizer: Any = SGD(model.parameters(), 0.1)
    truth = Truth(model)
    with watch(model, budget=None) as run:
        plain(truth, optimizer)
        model[2] = nn.Linear(8, 3)
        optimizer = SGD(model.parameters(), 0.1)
        plain(truth, optimizer)
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert run.recording.snapshots[-1].parameters["2.weight"].gradient is not None


def test_replicas_in_threads_are_noted() -> None:
    model = nn.DataParallel(net())
    model.device_ids = [0, 1]
    with watch(model) as run:
        pass
    assert "threads" in str(run.recording.not_observed["DataParallel"])


# ------------------------------------------------------------ hooks


def test_between_measured_steps_one_parameter_has_a_hook_and_the_model_none() -> None:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    counts = []
    with watch(model, optimizer, budget=0.0) as run:
        for x, y in batches(20):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
            hooked = sum(bool(p._post_accumulate_grad_hooks) for p in model.parameters())
            counts.append((hooked, len(model._forward_hooks)))
    assert counts[-2:] == [(1, 0)] * 2
    assert len(run.recording.steps) == 20
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_a_pass_that_misses_the_hook_brings_all_of_them_back() -> None:
    model = Two()
    extra = nn.Linear(6, 3)
    model.extra = extra
    optimizer = SGD(model.parameters(), 0.1)
    truth = []
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(20)):
            optimizer.zero_grad()
            F.cross_entropy(extra(x) if index >= 9 else model(x), y).backward()
            truth.append(norm(model.parameters()))
            optimizer.step()
    assert norms(run.recording) == near(truth, rel=1e-5)
    assert [s.step for s in run.recording.steps] == list(range(20))


def test_an_aborted_pass_leaves_the_count_right() -> None:
    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            raise ArithmeticError("the user's own")

    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=0.0) as run:
        for index, (x, y) in enumerate(batches(8)):
            optimizer.zero_grad()
            if index % 2:
                with pytest.raises(ArithmeticError):
                    F.cross_entropy(model[2](Refuses.apply(torch.tanh(model[0](x)))), y).backward()
                optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
    assert [s.passes for s in run.recording.steps] == [1] * 8
    assert not any(s.carried for s in run.recording.steps)


# ------------------------------------------------------------ nothing changes


def scaled(model: nn.Module) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled_loop(model, Adam(model.parameters(), 1e-2), scaler, Truth(model), 0.05, {0, 3})


def lbfgs(model: nn.Module) -> None:
    optimizer = torch.optim.LBFGS(model.parameters(), 0.5, max_iter=4)
    for x, y in batches():

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            return loss

        optimizer.step(closure)


LOOPS: dict[str, Any] = {
    "accumulated": lambda m: accumulated(Truth(m), SGD(m.parameters(), 0.1), none=False),
    "clipped": lambda m: clipped(Truth(m), Adam(m.parameters(), 1e-2), 0.05, nn.utils.clip_grad_norm_),
    "clip_data": lambda m: clipped(Truth(m), Adam(m.parameters(), 1e-2, fused=True), 0.05, clip_data),
    "by_hand": lambda m: by_hand(Truth(m)),
    "scaled": scaled,
    "lbfgs": lbfgs,
}


@pytest.mark.parametrize("budget", [None, 0.0])
@pytest.mark.parametrize("name", LOOPS)
def test_weights_and_gradients_are_bit_identical(name: str, budget: float | None) -> None:
    plain_model, model = net(), net()
    LOOPS[name](plain_model)
    with watch(model, budget=budget) as run:
        LOOPS[name](model)
    assert run.recording.steps
    for p, q in zip(plain_model.parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad)


# ------------------------------------------------------------ other devices, faults of ours


def test_where_numbers_come_late_they_are_read_one_step_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Inventory):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.on_host = False  # as on a GPU

    monkeypatch.setattr("undertow.probe.observer.Inventory", Elsewhere)
    truth = Truth(net())
    optimizer = SGD(truth.model.parameters(), 0.1)
    behind = []
    with watch(truth.model, optimizer, budget=None) as run:
        for x, y in batches():
            optimizer.zero_grad()
            loss_of(truth.model, x, y, truth).backward()
            truth.received.append(norm(truth.model.parameters()))
            optimizer.step()
            behind.append(len(truth.received) - len(run.recording.steps))
    assert behind == [1] * STEPS
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert [s.step for s in run.recording.snapshots] == list(range(STEPS))
    for snapshot in run.recording.snapshots:
        assert rms(snapshot.ledger) == near(truth.first[snapshot.step], rel=1e-5)


@pytest.mark.parametrize("call", ["backward_begins", "backward_ended", "before_step", "after_step", "forward_begins"])
def test_a_fault_of_ours_at_any_event_ends_the_observing_alone(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def train(watched: bool) -> tuple[list[Tensor], Recording | None]:
        model = net()
        optimizer = SGD(model.parameters(), 0.1)
        if not watched:
            plain(Truth(model), optimizer)
            return list(model.parameters()), None
        with watch(model, optimizer, budget=None) as run:
            plain(Truth(model), optimizer)
        assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
        return list(model.parameters()), run.recording

    original, calls = getattr(Loop, call), 0

    def failing(self: Loop, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError("a planted fault")
        return original(self, *args)

    monkeypatch.setattr(Loop, call, failing)
    with pytest.warns(RuntimeWarning, match="stopped observing at step .*planted fault") as said:
        weights, recording = train(watched=True)
    assert len(said) == 1
    assert recording is not None
    assert "planted fault" in str(recording.not_observed["undertow"])
    assert 1 <= len(recording.steps) <= 4
    assert all(torch.equal(a, b) for a, b in zip(weights, train(watched=False)[0], strict=True))


def test_an_optimizer_without_a_rate() -> None:
    class Own(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": None})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for p in self.param_groups[0]["params"]:
                p -= 0.1 * p.grad

    truth = Truth(net())
    optimizer = Own(truth.model.parameters())
    with watch(truth.model, optimizer, budget=0.0) as run:
        plain(truth, optimizer)
    assert norms(run.recording) == near(truth.received, rel=1e-5)
    assert all(math.isnan(s.learning_rate) for s in run.recording.steps)


def test_a_lazy_model_copies_and_pickles_before_its_first_pass() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.Tanh())
    with watch(model):
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for twin in twins:
            twin(torch.zeros(2, 3))
            assert twin(torch.zeros(2, 3)).shape == (2, 8)


@pytest.mark.slow
def test_hooks_that_come_and_go_compile_nothing_anew() -> None:
    model = net()
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    optimizer = SGD(model.parameters(), 0.1)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with watch(compiled, optimizer, budget=0.0) as run:
        for x, y in batches(40):
            optimizer.zero_grad()
            F.cross_entropy(compiled(x), y).backward()
            optimizer.step()
    assert len(run.recording.steps) == 40
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
