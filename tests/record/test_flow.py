"""The flow leaves out what pooling does to an rms, and counts what a detour through fewer values does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import examine
from undertow.record import Ledger
from undertow.record.flow import flow


class Gated(nn.Module):
    """A squeeze-and-excitation block between two convolutions: x · σ(W mean(x)), then pooling and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.squeeze, self.gate = nn.Conv2d(6, 6, 1), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x * self.gate(self.squeeze(x.mean((2, 3), keepdim=True)))
        return self.last(x)


class Pooled(Gated):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.avg_pool2d(self.first(x), 2)[:, :2])


def ledger_of(model: nn.Module) -> Ledger:
    torch.manual_seed(0)
    batch = torch.randn(8, 2, 8, 8), torch.randn(8, 6, 8, 8)
    return examine(model, batch, lambda y, t: F.mse_loss(y, t[..., : y.shape[-1], : y.shape[-1]])).ledger


def test_a_gate_of_pooled_values_is_on_the_path_and_counts_whole() -> None:
    torch.manual_seed(0)
    ledger = ledger_of(Gated())
    assert [e.site.operation for e in ledger.path] == ["conv2d", "mean", "conv2d", "sigmoid", "mul", "conv2d"]
    assert any(e.other != pytest.approx(1) for e in ledger.path)
    assert flow(ledger) == pytest.approx(ledger.end_to_end)


def test_pooling_on_the_way_is_left_out() -> None:
    torch.manual_seed(0)
    ledger = ledger_of(Pooled())
    resized = [e.other for e in ledger.path if e.site.operation in ("avg_pool2d", "getitem")]
    assert len(resized) == 2
    assert flow(ledger) == pytest.approx(ledger.end_to_end / (resized[0] * resized[1]))


class Attending(nn.Module):
    """Pre-norm blocks whose queries, keys and values come from one layer, as GPT-2 has them."""

    def __init__(self, blocks: int, width: int = 32) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.three = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(blocks))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for norm, three, out in zip(self.norms, self.three, self.out, strict=True):
            q, k, v = (part.unflatten(-1, (4, 8)).transpose(1, 2) for part in three(norm(x)).split(32, dim=-1))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + out(attended.transpose(1, 2).flatten(2))
        return x


def test_fewer_values_inside_a_residual_branch_are_no_resizing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), Attending(12), nn.Linear(32, 4))
    ledger = examine(model, (torch.randn(2, 16, 32), torch.randn(2, 16, 4)), F.mse_loss).ledger
    assert any(e.site.operation == "scaled_dot_product_attention" for e in ledger.path)
    assert flow(ledger) == pytest.approx(ledger.end_to_end)
