"""A compiled model is measured beside the step: bit-identical, without a graph break or a second compilation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.utils import counters

from undertow.diagnosis import watch
from undertow.record import Recording

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own, of an input with a graph

BACKEND = {"backend": "aot_eager", "fullgraph": True}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.tanh(self.norm(self.up(x))))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def wrapped(model: nn.Module, options: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], nn.Module]:
    net = torch.compile(model, **options)
    return net, lambda x: net(x).square().mean(), net


def inner(model: nn.Module, options: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], nn.Module]:
    net = torch.compile(model, **options)
    return model, lambda x: net(x).square().mean(), net


def in_place(model: nn.Module, options: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], nn.Module]:
    model.compile(**options)
    return model, lambda x: model(x).square().mean(), model


def part(model: Net, options: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], nn.Module]:
    model.norm.compile(backend=options.get("backend", "inductor"))
    model.down = torch.compile(model.down, **options)  # type: ignore[assignment]
    return model, lambda x: model(x).square().mean(), model


def function(model: nn.Module, options: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], nn.Module]:
    return model, torch.compile(lambda x: model(x).square().mean(), **options), model


WAYS = {f.__name__: f for f in (wrapped, inner, in_place, part, function)}
SITES = ["up#0", "norm#0", "forward:tanh#0", "down#0"]


def train(
    way: str, options: dict[str, Any], watching: bool, budget: float | None = None
) -> tuple[list[Any], Recording | None, dict[str, Any]]:
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    watched, loss_of, called = WAYS[way](Net(), options)
    optimizer = torch.optim.Adam(called.parameters(), 0.01)
    run = watch(watched, optimizer, budget=budget) if watching else None
    seen: list[Any] = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = loss_of(torch.randn(16, 6))
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    if run is not None:
        run.close()
    state = [t.clone() for t in (*called.state_dict().values(), torch.get_rng_state())]
    compiled = {"stats": dict(counters["stats"]), "breaks": dict(counters["graph_break"])}
    return [seen, state], run.recording if run else None, compiled


def assert_nothing_changed(way: str, options: dict[str, Any], budget: float | None = None) -> Recording:
    plain, _, compiled = train(way, options, watching=False)
    watched, recording, compiled_too = train(way, options, watching=True, budget=budget)
    assert watched[0] == plain[0]
    assert all(torch.equal(a, b) for a, b in zip(watched[1], plain[1], strict=True))
    assert compiled_too == compiled
    assert compiled_too["breaks"] == {}
    assert recording is not None
    assert recording.steps_seen == 8
    return recording


SLOW = pytest.mark.slow


@pytest.mark.parametrize("way", ["wrapped", pytest.param("inner", marks=SLOW), pytest.param("part", marks=SLOW)])
def test_where_the_call_is_pythons_own_a_replay_is_measured(way: str) -> None:
    recording = assert_nothing_changed(way, BACKEND)
    assert len(recording.snapshots) == 8
    assert all(s.stage.eager for s in recording.snapshots)
    assert [e.site.name for e in recording.snapshots[0].ledger] == SITES
    assert set(recording.snapshots[0].parameters) == {n for n, _ in Net().named_parameters()}
    (note,) = recording.not_observed.values()
    assert "replay of the same batch" in note.reason


def test_the_replay_tells_the_same_as_the_uncompiled_step() -> None:
    _, compiled, _ = train("wrapped", BACKEND, watching=True)
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with watch(model, optimizer, budget=None) as run:
        for _ in range(8):
            optimizer.zero_grad()
            model(torch.randn(16, 6)).square().mean().backward()
            optimizer.step()
    assert compiled is not None
    replayed, plain = compiled.snapshots[0], run.recording.snapshots[0]  # later ones differ by what Adam makes of noise
    assert (replayed.stage.eager, plain.stage.eager) == (True, False)
    for a, b in zip(replayed.ledger, plain.ledger, strict=True):
        assert (a.forward_rms, a.backward_rms) == pytest.approx((b.forward_rms, b.backward_rms), rel=1e-5)


@pytest.mark.parametrize("way", [pytest.param("in_place", marks=SLOW), "function"])
def test_where_nothing_can_be_seen_inside_it_is_said(way: str) -> None:
    recording = assert_nothing_changed(way, BACKEND)
    assert recording.snapshots == []
    assert "inside one compiled graph" in recording.not_observed["compiled model"].reason


@SLOW
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # torch's own, as inductor is loaded
@pytest.mark.parametrize("way", WAYS)
def test_with_inductor(way: str) -> None:
    recording = assert_nothing_changed(way, {"fullgraph": True}, budget=0.0)
    assert bool(recording.snapshots) == (way in ("wrapped", "inner", "part"))


@SLOW
def test_an_eager_model_beside_compiled_code_is_measured_as_ever() -> None:
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, budget=None) as run:
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            optimizer.step()
    assert len(run.recording.snapshots) >= 3  # whether it is compiled is known after its first backward pass
    assert not run.recording.snapshots[-1].stage.eager


def test_hooks_leave_nothing_behind() -> None:
    model = Net()
    net = torch.compile(model, **BACKEND)
    with watch(net, budget=None):
        net(torch.randn(4, 6)).sum().backward()
        twin = copy.deepcopy(model)
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
    pickle.dumps(model)
    assert all(not m._forward_hooks for m in twin.modules())


class Counting(Net):
    """Changes itself in every pass, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.register_buffer("total", torch.zeros(()))

    @torch._dynamo.disable
    def count(self) -> None:
        self.passes.append(len(self.passes))
        self.total += 1

    def forward(self, x: Tensor) -> Tensor:
        self.count()
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


@SLOW
def test_a_replay_leaves_the_models_own_state_alone() -> None:
    results = []
    for watching in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = Counting()
        net = torch.compile(model, backend="aot_eager")
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        run = watch(net, optimizer, budget=None) if watching else None
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = net(torch.randn(8, 6)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if run is not None:
            run.close()
            assert len(run.recording.snapshots) == 4
        results.append((losses, model.passes, model.total.item()))
    assert results[0] == results[1]
