"""Attention as it is read beside a training: the numbers of the whole softmax, and a training that does not change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.probe.unrolled import attending
from undertow.record import AttentionReading


class Tokens(nn.Module):
    """Three samples of six tokens in two heads."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.embed, self.out = kind, nn.Linear(4, 8), nn.Linear(8, 1)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.out(self.attended(h)).sum()

    def attended(self, h: Tensor) -> Tensor:
        hidden = torch.zeros(3, 6, dtype=torch.bool)
        hidden[0, 4:] = True
        if self.kind == "module":
            return self.attn(h, h, h, key_padding_mask=hidden)[0]
        q, k, v = (m(h).unflatten(-1, (2, 4)).transpose(1, 2) for m in (self.q, self.k, self.v))
        if self.kind == "causal":
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.kind == "masked":
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden[:, None, None])
        else:
            logits = q @ k.transpose(-2, -1) / 2 + torch.full((6, 6), -1e9).triu(1)
            mixed = F.dropout(torch.softmax(logits, -1, dtype=torch.float32).to(q.dtype), 0.1) @ v
        return mixed.transpose(1, 2).flatten(2)


def trained(model: nn.Module, x: Any, steps: int = 1, watched: bool = True) -> tuple[Any, list[Tensor]]:
    torch.manual_seed(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    run = ut.watch(model, optimizer, budget=None) if watched else None
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).backward()
        optimizer.step()
    if run is not None:
        run.close()
    return run, [p.detach().clone() for p in model.parameters()]


def made(kind: str) -> tuple[Tokens, Tensor]:
    torch.manual_seed(0)
    return Tokens(kind), 3 * torch.randn(3, 6, 4)


NAMES = {
    "module": "attn:multi_head_attention_forward#0",
    "causal": "forward:scaled_dot_product_attention#0",
    "masked": "forward:scaled_dot_product_attention#0",
    "written": "forward:softmax#0",
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_reading_is_that_of_the_whole_softmax_at_a_site_of_the_ledger(kind: str) -> None:
    model, x = made(kind)
    h = model.embed(x)
    if kind == "module":
        hidden = torch.zeros(3, 6, dtype=torch.bool)
        hidden[0, 4:] = True
        p = model.attn(h, h, h, key_padding_mask=hidden, average_attn_weights=False)[1]
    else:
        q, k = (m(h).unflatten(-1, (2, 4)).transpose(1, 2) for m in (model.q, model.k))
        logits = q @ k.transpose(-2, -1) / 2
        allowed = torch.ones(6, 6).tril().bool().expand(3, 2, 6, 6).clone()
        if kind == "masked":
            allowed[:] = True
            allowed[0, :, :, 4:] = False
        p = logits.masked_fill(~allowed, -math.inf).softmax(-1)
    run, _ = trained(model, x)
    snapshot = run.recording.snapshots[0]
    ((name, reading),) = snapshot.attention.items()
    assert name == NAMES[kind]
    assert name in [e.site.name for e in snapshot.ledger]
    assert reading.largest == pytest.approx(p.amax(-1).mean().item(), rel=1e-5)
    keys = (p > 0).sum(-1)
    entropy = -torch.special.xlogy(p, p).sum(-1)[keys > 1] / keys[keys > 1].log()
    assert reading.entropy == pytest.approx(entropy.mean().item(), rel=1e-4)
    largest = p.amax(-1)[keys > 1]
    assert reading.closed == pytest.approx((largest * (1 - largest) < 2.5e-4).float().mean().item())


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_changes(kind: str) -> None:
    model, x = made(kind)
    run, weights = trained(model, x, steps=4)
    state = torch.get_rng_state()
    other, _ = made(kind)
    _, without = trained(other, x, steps=4, watched=False)
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, weights, without))
    assert len(run.recording.snapshots) == 4
    assert all(s.attention for s in run.recording.snapshots)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_one_hot_rows_are_closed_and_rows_with_one_key_are_not_counted() -> None:
    class Sharp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(100 * self.q(x), x, x, is_causal=True).sum()

    model = Sharp()
    with torch.no_grad():
        nn.init.eye_(model.q.weight)
    run, _ = trained(model, torch.eye(4).expand(2, 4, 4).clone() * 2)
    (reading,) = run.recording.snapshots[0].attention.values()
    assert isinstance(reading, AttentionReading)
    assert (reading.closed, round(reading.largest, 6)) == (1.0, 1.0)


def test_a_softmax_that_nothing_takes_up_as_weights_is_no_attention() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1), nn.Linear(3, 1), nn.Flatten(0))
    run, _ = trained(nn.Sequential(model, nn.Unflatten(0, (1, 3)), nn.Linear(3, 1), nn.Flatten(0)), torch.randn(3, 4))
    assert run.recording.snapshots[0].attention == {}


def test_a_call_that_cannot_be_read_is_noted_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("a tensor of another kind")

    monkeypatch.setattr(attending, "_fused", refuse)
    model, x = made("causal")
    run, _ = trained(model, x, steps=3)
    assert len(run.recording.snapshots) == 3
    assert "a tensor of another kind" in run.recording.not_observed["attention"].reason


@pytest.mark.parametrize("kind", NAMES)
def test_how_far_the_values_are_apart_is_that_of_the_whole_layer(kind: str) -> None:
    model, x = made(kind)
    h = model.embed(x)
    value = h @ model.attn.in_proj_weight[16:].T + model.attn.in_proj_bias[16:] if kind == "module" else model.v(h)
    heads = value.unflatten(-1, (2, 4)).transpose(1, 2)
    parts = [heads[0, :, :4] if kind in ("module", "masked") else heads[0], heads[1], heads[2]]  # two keys are hidden
    off = sum((p - p.mean(1, keepdim=True)).square().sum() for p in parts)
    run, _ = trained(model, x)
    (reading,) = run.recording.snapshots[0].attention.values()
    assert reading.apart == pytest.approx((off / sum(p.square().sum() for p in parts)).sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_tokens_are_compared_where_they_look_at_each_other(keys: int) -> None:
    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(self.q(x), x[:, :keys], x[:, :keys]).sum()

    run, _ = trained(Looking(), torch.randn(2, 3, 4))
    (reading,) = run.recording.snapshots[0].attention.values()
    assert math.isnan(reading.apart) == (keys < 3)
