"""Recurrent layers, held against plain torch at random initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from sizes import errors
from torch import Tensor, nn

import undertow as ut

WIDTH, STEPS = 128, 12


class Net(nn.Module):
    """A recurrent layer between two linear ones; the loss sees all steps, or the last."""

    def __init__(self, kind: str, last: bool, gain: float = 1.0, **options: object) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), last
        self.cell = getattr(nn, kind)(WIDTH, WIDTH, batch_first=True, **options)
        self.out = nn.Linear(WIDTH * (2 if options.get("bidirectional") else 1), WIDTH)
        for name, p in self.named_parameters():
            if "weight" in name:
                nn.init.normal_(p, std=gain / math.sqrt(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cell(self.first(x))
        return self.out(y[:, -1] if self.last else y)


def series() -> Tensor:
    return torch.randn(16, STEPS, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("last", [False, True])
def test_a_layer_is_forecast_forward_and_through_time(kind: str, last: bool) -> None:
    for error in errors(lambda: Net(kind, last), series, ["first", "cell", "out"], seeds=3):
        assert error == (pytest.approx(0, abs=0.06), pytest.approx(0, abs=0.08))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_layers": 2, "dropout": 0.2}, {"num_layers": 2, "bidirectional": True}])
def test_a_stack_of_layers_is_forecast(options: dict[str, object]) -> None:
    first, cell = errors(lambda: Net("LSTM", False, **options), series, ["first", "cell"], seeds=3)
    assert cell == (pytest.approx(0, abs=0.05), pytest.approx(0, abs=0.08))
    assert first.backward == pytest.approx(0, abs=0.12)


def test_the_factor_of_a_step_is_what_one_step_back_costs() -> None:
    torch.manual_seed(0)
    model = Net("RNN", True, gain=1.5)
    forecast = ut.forecast(model, series())
    (back,) = forecast.through_time.values()

    cell = model.cell
    x = model.first(series())
    h, states = torch.zeros(16, WIDTH), []
    for t in range(STEPS):
        w_in, w_hidden, b_in, b_hidden = cell._flat_weights
        h = torch.tanh(x[:, t] @ w_in.T + b_in + h @ w_hidden.T + b_hidden)
        states.append(h)
    grads = torch.autograd.grad(h, states, torch.randn(h.shape))
    measured = (grads[0].norm() / grads[-1].norm()).item() ** (1 / (STEPS - 1))
    assert back.factor == pytest.approx(measured, rel=0.03)
    assert back.steps == STEPS
    assert "Through time in cell" in str(forecast)


@pytest.mark.parametrize(
    ("kind", "gain", "found"),
    [("RNN", 0.3, [("vanishing", "note")]), ("RNN", 1.0, []), ("RNN_relu", 4.0, [("exploding", "critical")])],
)
def test_what_the_steps_do_to_the_gradient_is_a_finding(kind: str, gain: float, found: list[tuple[str, str]]) -> None:
    torch.manual_seed(0)
    name, _, nonlinearity = kind.partition("_")
    model = Net(name, True, gain=gain, **({"nonlinearity": nonlinearity} if nonlinearity else {}))
    told = ut.forecast(model, series())
    assert [(f.kind, f.severity) for f in told.findings if f.rule] == found
    assert all(f.where.startswith("cell") and f.because for f in told.findings if f.rule)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_cell_in_a_loop_is_forecast(kind: str) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.cell, self.out = (
                nn.Linear(WIDTH, WIDTH),
                getattr(nn, kind)(WIDTH, WIDTH),
                nn.Linear(WIDTH, 8),
            )

        def forward(self, x: Tensor) -> Tensor:
            x, state = self.first(x), None
            for t in range(4):
                state = self.cell(x[:, t], state)
            return self.out(state[0] if isinstance(state, tuple) else state)

    first, out = errors(Loop, series, ["first", "out"], seeds=3)
    assert out.forward == pytest.approx(0, abs=0.1)
    assert first.backward == pytest.approx(0, abs=0.15)


def test_nothing_is_bridged_and_the_random_state_is_kept() -> None:
    model, before = Net("LSTM", False), torch.get_rng_state()
    forecast = ut.forecast(model, series())
    assert not any("bridged" in s.flags for s in forecast.sites)
    assert torch.equal(before, torch.get_rng_state())
