"""The backward value at each time step of a fused layer, from inside a training, against autograd through the same
layer step by step; and the training, which is not changed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import undertow as ut
from undertow.probe.unrolled.profile import profile
from undertow.record import TimeReading
from undertow.record.flow import flow
from undertow.record.loops import along, loops
from undertow.record.runfile import read

LENGTHS = [7, 5, 5, 2]


class Reader(nn.Module):
    """Reads the last state, all outputs, or both, of a recurrent layer."""

    def __init__(self, layer: nn.RNNBase, reads: str = "both", packed: bool = False) -> None:
        super().__init__()
        self.layer, self.reads, self.packed = layer, reads, packed
        self.out = nn.LazyLinear(1)

    def forward(self, x: Tensor) -> Tensor:
        given: Any = pack_padded_sequence(x, LENGTHS, self.layer.batch_first) if self.packed else x
        outputs, state = self.layer(given)
        data = outputs.data if isinstance(outputs, PackedSequence) else outputs
        last = state[0] if isinstance(state, tuple) else state
        seen = {"all": [data], "last": [last[-1]], "both": [data, last]}[self.reads]
        return sum((self.out(s.unsqueeze(-1)).sum() for s in seen), torch.zeros(()))


def batch(layer: nn.RNNBase, size: int = 4) -> Tensor:
    x = torch.randn(7, size, 3, generator=torch.Generator().manual_seed(1))
    return x.transpose(0, 1).contiguous() if layer.batch_first else x


def trained(model: nn.Module, x: Tensor, steps: int = 1, watched: bool = True) -> tuple[Any, list[Tensor]]:
    model(x)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    run = ut.watch(model, optimizer, budget=None) if watched else None
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).backward()
        optimizer.step()
    if run is not None:
        run.close()
    return run, [p.detach().clone() for p in model.parameters()]


def stepped(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One step by torch's own cells, but for LSTM's, whose hidden state does not come from the cell that it gives."""
    weights = {n.removesuffix("_l0"): p for n, p in layer.named_parameters()}
    if layer.mode == "LSTM":
        gates = x @ weights["weight_ih"].T + state[0] @ weights["weight_hh"].T + weights["bias_ih"] + weights["bias_hh"]
        i, f, g, o = gates.chunk(4, 1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell
    kind = nn.GRUCell if layer.mode == "GRU" else nn.RNNCell
    options = {} if layer.mode == "GRU" else {"nonlinearity": layer.mode[4:].lower()}
    cell = kind(layer.input_size, layer.hidden_size, **options)
    cell.load_state_dict(weights)
    return (cell(x, state[0]),)


def by_autograd(model: Reader, x: Tensor) -> list[tuple[float, float]]:
    """Of a one-layer, one-way layer: per time the rms of δ_t and of what came there directly."""
    layer = model.layer
    made: list[tuple[Tensor, ...]] = []
    state = tuple(torch.zeros(4, 5) for _ in range(1 + (layer.mode == "LSTM")))
    later: list[tuple[Tensor, ...]] = []
    for step in x.transpose(0, 1) if layer.batch_first else x:
        made.append(stepped(layer, step, state))
        state = tuple(t * 1 for t in made[-1])  # what the recurrence takes, apart from what the loss reads
        later.append(state)
    outputs, last = torch.stack([parts[0] for parts in made]), made[-1][0]
    seen = {"all": [outputs], "last": [last], "both": [outputs, last]}[model.reads]
    total = sum((model.out(s.unsqueeze(-1)).sum() for s in seen), torch.zeros(()))
    places = [t for parts in (*made, *later) for t in parts]
    gradients = torch.autograd.grad(total, places, allow_unused=True)
    found = [torch.zeros_like(t) if g is None else g for t, g in zip(places, gradients, strict=True)]
    whole, carried = found[: len(places) // 2], found[len(places) // 2 :]
    direct = [w - c for w, c in zip(whole, carried, strict=True)]
    size = len(made[0])
    return [(rms(whole[t : t + size]), rms(direct[t : t + size])) for t in range(0, len(whole), size)]


def rms(parts: list[Tensor]) -> float:
    return torch.cat([p.flatten() for p in parts]).square().mean().sqrt().item()


@pytest.mark.parametrize("reads", ["all", "last", "both"])
@pytest.mark.parametrize("kind", ["rnn", "relu", "lstm", "gru"])
def test_each_time_step_has_the_gradient_of_autograd(kind: str, reads: str) -> None:
    torch.manual_seed(0)
    layer = {
        "rnn": lambda: nn.RNN(3, 5, batch_first=True),
        "relu": lambda: nn.RNN(3, 5, nonlinearity="relu"),
        "lstm": lambda: nn.LSTM(3, 5),
        "gru": lambda: nn.GRU(3, 5, batch_first=True),
    }[kind]()
    model = Reader(layer, reads)
    x = batch(layer)
    model(x)
    expected = by_autograd(model, x)
    run, _ = trained(model, x)
    (reading,) = run.recording.snapshots[0].times.values()
    assert reading.times == tuple(range(7))
    assert reading.backward == pytest.approx([b for b, _ in expected], rel=1e-4)
    assert reading.direct == pytest.approx([d for _, d in expected], rel=1e-3, abs=1e-5)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("packed", [False, True])
def test_every_layer_and_direction_has_a_reading_and_nothing_changes(packed: bool) -> None:
    def made() -> Reader:
        torch.manual_seed(0)
        return Reader(nn.LSTM(3, 6, 2, bidirectional=True, proj_size=2, dropout=0.3), packed=packed)

    model = made()
    x = batch(model.layer)
    run, weights = trained(model, x, steps=4)
    state = torch.get_rng_state()
    _, without = trained(made(), x, steps=4, watched=False)
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, weights, without))
    assert [list(s.times) for s in run.recording.snapshots] == [
        ["layer.l0", "layer.l0.reverse", "layer.l1", "layer.l1.reverse"]
    ] * 4
    times = run.recording.snapshots[0].times
    assert times["layer.l1.reverse"].times == (6, 5, 4, 3, 2, 1, 0)
    assert all(0 < b < math.inf for r in times.values() for b in r.backward)
    assert not model.layer._forward_hooks


def test_only_some_of_a_large_batch_and_of_the_steps_are_replayed() -> None:
    torch.manual_seed(0)
    model = Reader(nn.GRU(3, 5), "last")
    run, _ = trained(model, batch(model.layer, size=40), steps=20)
    assert [s.step for s in run.recording.snapshots if s.times] == [0, 1, 2, 3, 5, 8, 12, 18]
    assert "layer" in run.recording.snapshots[0].times


def test_a_run_file_keeps_them(tmp_path) -> None:
    torch.manual_seed(0)
    model = Reader(nn.GRU(3, 5), "last")
    x = batch(model.layer)
    model(x)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with ut.watch(model, optimizer, path=tmp_path / "run.undertow") as run:
        for _ in range(3):
            optimizer.zero_grad()
            model(x).backward()
            optimizer.step()
    (saved,) = read(tmp_path / "run.undertow").recordings
    assert [s.times for s in saved.snapshots] == [s.times for s in run.recording.snapshots]
    assert saved.snapshots[0].times["layer"].backward


def test_flow_and_growth_tell_time_from_where_the_loss_reads() -> None:
    def reading(backward: list[float], direct: list[float]) -> TimeReading:
        return TimeReading(tuple(range(len(backward))), tuple(backward), tuple(direct), 1.0)

    last = [0.0] * 9 + [1.0]
    assert reading([0.5 ** (9 - t) for t in range(10)], last).flow == pytest.approx(0.5**9)
    assert reading([2.0 ** (9 - t) for t in range(10)], last).growth == pytest.approx(2.0**9)
    every = reading([float(10 - t) for t in range(10)], [1.0] * 10)
    assert every.flow == 1.0
    assert every.growth == pytest.approx(1.0)
    middle = reading([0.5, 0.7, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0])
    assert (middle.flow, middle.growth) == pytest.approx((0.5, 1.0))
    assert math.isnan(reading([0.0, 0.0], [0.0, 0.0]).flow)


def test_a_gradient_that_leaves_the_format_far_back_is_told_from_none() -> None:
    steps = [(t, (torch.zeros(1, 2),), (torch.zeros(1, 2),)) for t in range(30)]
    gradients: dict[int, Tensor | None] = {}
    for t, made, taken in steps:
        gradients[id(made[0])] = torch.full((1, 2), 0.1 ** (29 - t))
        gradients[id(taken[0])] = torch.full((1, 2), 0.1 ** (29 - t)) if t < 29 else None
    found = profile(steps, gradients, 1e-6, "")
    assert found.step == pytest.approx(0.1, rel=1e-3)
    assert found.backward[0] == pytest.approx(1e-35, rel=1e-3)
    assert found.activation is None


class Cells(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.out = cell, nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        for step in x:
            state = self.cell(step, state)
        return self.out(state[0] if isinstance(state, tuple) else state).sum()


@pytest.mark.parametrize("make", [nn.RNNCell, nn.GRUCell, nn.LSTMCell], ids=lambda c: c.__name__)
def test_a_loop_by_hand_is_read_along_its_calls_and_left_out_of_the_depth(make: type[nn.RNNCellBase]) -> None:
    torch.manual_seed(0)
    model, x = Cells(make(3, 5)), torch.randn(12, 4, 3)
    run, _ = trained(model, x)
    ledger = run.recording.snapshots[0].ledger
    (loop,) = loops(ledger)
    reading = along(ledger, loop)
    sizes = [ledger[f"cell#{t}"].backward_rms for t in range(12)]
    assert (loop.name, reading.times, reading.backward) == ("cell", tuple(range(12)), tuple(sizes))
    assert reading.direct[:-1] == pytest.approx([0.0] * 11, abs=1e-3 * sizes[-1])
    assert reading.growth == pytest.approx(1.0, rel=1e-3)
    assert flow(ledger) == pytest.approx(sizes[-1] / ledger.path[-1].backward_rms)


def test_layers_that_are_called_once_or_share_an_activation_are_no_loop() -> None:
    act = nn.Tanh()
    model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(4, 4), act)])
    run, _ = trained(nn.Sequential(model, nn.Flatten(0), nn.Linear(12, 1), nn.Flatten(0)), torch.randn(3, 4))
    assert loops(run.recording.snapshots[0].ledger) == []
