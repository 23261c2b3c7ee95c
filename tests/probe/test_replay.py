"""A pass that follows a plan gives the ledger that a trace gives, and notices where it went another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ledger_nets import NETS
from torch import Tensor, nn
from watched_runs import MODELS, Job

from undertow.diagnosis import watch
from undertow.foundation import EFFECTS
from undertow.probe.following.plans import Plans
from undertow.probe.following.replay import Replay
from undertow.probe.following.returning import Returning, carrier
from undertow.probe.stepping.budget import Budget
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

    monkeypatch.setattr("undertow.probe.tracing.tap.Plans", Counting)
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
        found, expected = asdict(entry.slope), asdict(traced.slope)
        assert found.pop("activation") == expected.pop("activation")
        assert found == pytest.approx(expected)


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


@pytest.mark.parametrize("name", ["run mlp", "net residual"])
def test_the_same_by_public_hooks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch no longer lets a node take over a dict of hooks."""
    expected, _ = observed(RUNS[name], monkeypatch)
    monkeypatch.setattr("undertow.probe.following.returning.carrier", lambda: None)
    found, followed = observed(RUNS[name], monkeypatch)
    assert followed >= 3
    for one, other in zip(found.snapshots, expected.snapshots, strict=True):
        assert_same_snapshot(one, other)


def test_whether_a_node_takes_over_hooks_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(carrier(), Tensor)
    monkeypatch.setattr("undertow.probe.following.returning.torch.autograd.grad", lambda y, x: None)
    assert carrier.__wrapped__() is None


@pytest.mark.parametrize(("public", "factor"), [(True, 3.0), (False, 1.0)])
def test_a_hook_on_a_tensor_after_the_forward_pass(
    public: bool, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public hooks on nodes read what it makes of the gradient; torch runs the others before it, as the docs say."""
    if public:
        monkeypatch.setattr("undertow.probe.following.returning.carrier", lambda: None)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    x, target = torch.randn(16, 4), torch.randint(3, (16,))
    hidden: list[Tensor] = []
    model[0].register_forward_hook(lambda _module, _args, output: hidden.append(output))
    with watch(model, optimizer, budget=None) as run:
        for i in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), target)
            if i == 5:
                hidden[-1].register_hook(lambda g: 3 * g)
            loss.backward()
            optimizer.step()
    before, after = (next(iter(run.recording.snapshots[k].ledger)).backward for k in (-2, -1))
    assert before is not None
    assert after is not None
    assert after.rms / before.rms == pytest.approx(factor)


def test_what_runs_in_hooks_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No guard times them, and the budget would take a step that is measured whole for a cheap one."""
    charged: list[float] = []
    charge = Budget.charge
    monkeypatch.setattr(Budget, "charge", lambda self, seconds: (charged.append(seconds), charge(self, seconds))[1])
    seconds = Returning.seconds.fget
    assert seconds is not None
    told: list[float] = []
    monkeypatch.setattr(Returning, "seconds", property(lambda self: (told.append(seconds(self)), told[-1])[1]))
    _, followed = observed(RUNS["run mlp"], monkeypatch)
    assert len(told) == followed >= 3
    assert min(told) > 0
    assert set(told) <= set(charged)


class Experts(nn.Module):
    """Data decides which of two equal experts runs, and whether a layer is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        choice = int(x[0, 0] * 1e4) % 3
        h = F.relu(self.stem(x))
        return self.head(self.experts[choice](h) if choice < 2 else h)


class SkipsAtTimes(nn.Sequential):
    """All sites are modules, and none of the calls that a function mode would see is different."""

    def forward(self, x: Tensor) -> Tensor:
        self.passes = getattr(self, "passes", 0) + 1
        first, act, second, last = self
        h = act(first(x))
        return last(second(h) if self.passes % 5 else second(h) + h)


class Spelled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Linear(6, 8), nn.Linear(8, 3), nn.PReLU()
        self.third = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h * torch.sigmoid(1.702 * h)
        return self.third(self.act(self.second(h)).softmax(-1))


def wide(inplace: bool = False) -> nn.Module:
    """Each kind of module that is hooked in its own way."""
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.LayerNorm(8),
        nn.ReLU(inplace),
        nn.Dropout(0.0),
        nn.Linear(8, 8),
        nn.LeakyReLU(0.2, inplace),
        nn.Linear(8, 8),
        nn.GELU(),
        nn.GELU(),
        nn.Linear(8, 3),
        nn.Hardtanh(inplace=inplace),
    )


MODELS_OF_ITS_OWN: dict[str, Callable[[], nn.Module]] = {
    "experts": Experts,
    "skips": lambda: SkipsAtTimes(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)),
    "spelled": Spelled,
    "wide": wide,
    "wide in place": lambda: wide(inplace=True),
}


def of_its_own(name: str) -> Train:
    def train() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        torch.manual_seed(4)
        model = MODELS_OF_ITS_OWN[name]()
        generator = torch.Generator().manual_seed(2)
        data = [(torch.randn(16, 6, generator=generator), torch.arange(16) % 3) for _ in range(24)]
        return of_model(model, data.__getitem__)()

    return train


@pytest.mark.parametrize("name", MODELS_OF_ITS_OWN)
def test_a_pass_that_differs_is_left_out_or_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, _ = observed(of_its_own(name), monkeypatch, steps=24, always=True)
    found, followed = observed(of_its_own(name), monkeypatch, steps=24)
    steps = {s.step: s for s in traced.snapshots}
    for snapshot in found.snapshots:
        if snapshot.step in steps:  # a long run is thinned
            assert_same_snapshot(snapshot, steps[snapshot.step])
    if name in ("experts", "skips"):
        assert len(found.snapshots) >= 10
    else:
        assert followed > 15


def test_a_slope_that_is_changed_between_steps_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.5), nn.Linear(8, 3))
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=None) as run:
        for i in range(8):
            model[1].negative_slope = 0.5 if i < 4 else 0.25
            optimizer.zero_grad()
            model(torch.randn(64, 6, generator=generator)).square().mean().backward()
            optimizer.step()
    slopes = {s.step: s.ledger["1"].slope for s in run.recording.snapshots}
    assert all(s is not None and (s.mean > 0.69) == (step < 4) for step, s in slopes.items())
    assert max(slopes) == 7


def test_a_layer_that_is_exchanged_is_noticed() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, budget=None) as run:
        for i in range(10):
            if i == 5:
                model[1] = nn.Sigmoid()
            optimizer.zero_grad()
            model(torch.ones(4, 6)).sum().backward()
            optimizer.step()
    assert [s.ledger["1"].site.operation for s in run.recording.snapshots][-3:] == ["sigmoid"] * 3
    assert all(s.ledger["1"].site.operation == "tanh" for s in run.recording.snapshots if s.step < 5)


def gan() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
    """The discriminator, which sees real and fake data for its own step, and fake data for the generator's."""
    torch.manual_seed(3)
    generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))
    critic = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    ours, theirs = torch.optim.SGD(critic.parameters(), 0.05), torch.optim.SGD(generator.parameters(), 0.05)
    noise = torch.Generator().manual_seed(1)

    def step(i: int) -> None:
        real, z = torch.randn(8, 6, generator=noise), torch.randn(8, 4, generator=noise)
        ours.zero_grad()
        F.softplus(-critic(real)).mean().backward()
        F.softplus(critic(generator(z).detach())).mean().backward()
        ours.step()
        theirs.zero_grad()
        F.softplus(-critic(generator(z))).mean().backward()
        theirs.step()

    return critic, ours, step


@pytest.mark.parametrize("train", [gan, of_job("mlp")], ids=["gan", "accumulation"])
def test_of_a_further_pass_only_the_units_are_looked_at(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, _ = observed(train, monkeypatch, steps=8, always=True)
    light: list[bool] = []
    make = Replay.__init__

    def noted(self: Replay, *args: Any, **kwargs: Any) -> None:
        light.append(kwargs["light"])
        make(self, *args, **kwargs)

    monkeypatch.setattr(Replay, "__init__", noted)
    found, _ = observed(train, monkeypatch, steps=8)
    assert len(found.snapshots) == len(traced.snapshots) == 8
    for one, other in zip(found.snapshots, traced.snapshots, strict=True):
        if train is not gan or one.step != 1:  # only then is it known that the generator's gradients are dropped
            assert_same_snapshot(one, other)
    if train is not gan:  # whose passes do not add up
        assert light.count(True) >= 5
    assert light.count(False) >= 5


def test_a_loss_of_two_kinds_of_passes_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model, called in two ways in each step."""

    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor, deeper: bool) -> Tensor:
            h = torch.tanh(self.first(x))
            return self.head(torch.relu(self.second(h)) if deeper else h)

    def train() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        torch.manual_seed(2)
        model = TwoWays()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)

        def step(i: int) -> None:
            x = torch.sin(torch.arange(48.0).view(8, 6) + i)
            optimizer.zero_grad()
            (model(x, False).square().mean() + model(x, True).square().mean()).backward()
            optimizer.step()

        return model, optimizer, step

    traced, _ = observed(train, monkeypatch, steps=8, always=True)
    found, followed = observed(train, monkeypatch, steps=8)
    assert followed >= 10
    for one, other in zip(found.snapshots, traced.snapshots, strict=True):
        assert_same_snapshot(one, other)
