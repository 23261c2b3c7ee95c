"""Examined with `unroll=True`: fused layers in the open, the same numbers, the model untouched."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.probe import measure
from undertow.record import Ledger, Recording


class Attention(nn.Module):
    """One call of the fused function on heads of size 4."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.q, self.kv, self.out, self.options = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 3), options

    def forward(self, x: Tensor) -> Tensor:
        few = 2 if self.options.get("enable_gqa") else 4
        q = self.q(x).unflatten(-1, (4, 4)).transpose(1, 2)
        k, v = (t.unflatten(-1, (-1, 4)).transpose(1, 2)[:, :few] for t in (self.kv(x), self.kv(x).tanh()))
        return self.out(F.scaled_dot_product_attention(q, k, v, **self.options).transpose(1, 2).flatten(2))


class Heads(nn.Module):
    def __init__(self, call: dict[str, Any], **options: Any) -> None:
        super().__init__()
        self.mix, self.out, self.call = nn.MultiheadAttention(8, 2, **options), nn.Linear(8, 3), call

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(x, x, x, **self.call)[0])


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.core = kind(8, 6, batch_first=True, **options)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.core(x)[0][:, -1])


HIDDEN = torch.ones(5, 5).triu(1).bool()
ATTENTIONS = {
    "plain": lambda: Attention(),
    "causal": lambda: Attention(is_causal=True),
    "scale": lambda: Attention(scale=2.0),
    "bool mask": lambda: Attention(attn_mask=~HIDDEN),
    "float mask": lambda: Attention(attn_mask=torch.randn(5, 5)),
    "a query without a key": lambda: Attention(attn_mask=torch.arange(5)[:, None].expand(5, 5) > 0),
    "grouped queries": lambda: Attention(enable_gqa=True),
    "heads": lambda: Heads({}, batch_first=True),
    "heads, masked": lambda: Heads({"attn_mask": HIDDEN, "need_weights": False}, batch_first=True),
    "heads, causal hint": lambda: Heads(
        {"attn_mask": HIDDEN, "need_weights": False, "is_causal": True}, batch_first=True
    ),
    "heads, padded": lambda: Heads({"key_padding_mask": torch.arange(5).expand(4, 5) > 2}, batch_first=True),
    "heads, own sizes": lambda: Heads({}, kdim=8, vdim=8, bias=False, batch_first=True),
}
RECURRENT = {
    "rnn": lambda: Recurrent(nn.RNN),
    "lstm": lambda: Recurrent(nn.LSTM, num_layers=2),
    "gru": lambda: Recurrent(nn.GRU),
}
LAYERS = ATTENTIONS | RECURRENT


def loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target)


def batch(name: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(4, 5, 8), torch.randint(0, 3, (4 if name in RECURRENT else 20,))


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_numbers(name: str) -> None:
    torch.manual_seed(0)
    model, given = LAYERS[name](), batch(name)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    open_, fused = measure(model, given, loss, unroll=True), measure(model, given, loss)
    assert open_.losses[0].value == pytest.approx(fused.losses[0].value, rel=1e-6)
    assert open_.not_observed == {}
    assert fused.not_observed
    for parameter, reading in fused.snapshots[0].parameters.items():
        assert reading.gradient is not None
        opened = open_.snapshots[0].parameters[parameter].gradient
        assert opened is not None
        assert opened.rms == pytest.approx(reading.gradient.rms, rel=1e-5, abs=1e-9)
        assert opened.max == pytest.approx(reading.gradient.max, rel=1e-5, abs=1e-9)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ATTENTIONS)
def test_probabilities_of_an_attention(name: str) -> None:
    torch.manual_seed(0)
    recording = measure(LAYERS[name](), batch(name), loss, unroll=True)
    site, reading = next(iter(recording.snapshots[0].attention.items()))
    assert site in [e.site.name for e in recording.snapshots[0].ledger]
    assert 0 < reading.entropy <= 1
    assert reading.largest >= 1 / 5
    assert reading.logits.count == 4 * 5 * 5 * (2 if name.startswith("heads") else 4)


def test_entropy_by_hand() -> None:
    model, (x, target) = Heads({}, batch_first=True), batch("heads")
    reading = measure(model, (x, target), loss, unroll=True).snapshots[0].attention["mix:softmax#0"]
    p = model.mix(x, x, x, average_attn_weights=False)[1].double()
    assert reading.entropy == pytest.approx((-(p * p.log()).sum(-1) / math.log(5)).mean().item(), rel=1e-6)
    assert reading.largest == pytest.approx(p.amax(-1).mean().item(), rel=1e-6)


def hidden(ledger: Ledger, t: int) -> float:
    return next(e for e in ledger if e.site.module == f"core.t{t}.hidden").backward_rms


def test_gradients_through_time_equal_autograds() -> None:
    torch.manual_seed(0)
    model, (x, target) = Recurrent(nn.GRU), batch("gru")
    ledger = measure(model, (x, target), loss, unroll=True).snapshots[0].ledger
    cell = nn.GRUCell(8, 6)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in model.core.state_dict().items()})
    states = [torch.zeros(4, 6)]
    for t in range(5):
        states.append(cell(x[:, t], states[-1]))
        states[-1].retain_grad()
    loss(model.out(states[-1]), target).backward()
    for t in range(5):
        assert hidden(ledger, t) == pytest.approx(states[t + 1].grad.square().mean().sqrt().item(), rel=1e-5)
    gates = {e.site.short for e in ledger}
    assert {"core.t3.update_gate", "core.t0.reset_gate", "core.t4.candidate"} <= gates
    assert ledger["core.t3.update_gate"].slope.activation == "sigmoid"


def test_what_stays_fused_says_so() -> None:
    recording = measure(Heads({}, add_bias_kv=True), batch("heads"), loss, unroll=True)
    assert "keys of its own" in recording.not_observed["mix"].reason


def test_dropout_is_drawn_anew() -> None:
    recording = measure(Recurrent(nn.LSTM, num_layers=2, dropout=0.5), batch("lstm"), loss, unroll=True)
    assert isinstance(recording, Recording)
    assert recording.snapshots[0].ledger["core.l1.t4.forget_gate"].backward_rms > 0
