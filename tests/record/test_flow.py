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
