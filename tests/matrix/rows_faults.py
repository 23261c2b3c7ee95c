"""Row 48: a value that is not finite, planted at a known place and step."""

from __future__ import annotations

import torch
from rows import Setting, classifying, row
from torch import Tensor, nn


class Planted(nn.Module):
    """Four layers; from the given pass on one multiplies a single unit by NaN or infinity."""

    def __init__(self, value: float, layer: int, at: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.head, self.value, self.layer, self.at, self.passes = nn.Linear(16, 4), value, layer, at, 0

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            factor = self.value if i == self.layer and self.passes >= self.at else 1.0
            x = torch.tanh(layer(x)) * torch.tensor([1.0] * 15 + [factor])
        self.passes += 1
        return self.head(x)


@row(48, "NaN at layer 2 from the start", activations={"tanh": 4}, findings={"nonfinite": "forward:mul#2"}, fast=True)
def nan_at_the_start() -> Setting:
    return classifying(Planted(float("nan"), 2, 0), (32, 16))


@row(48, "infinity at layer 1 from step 7", activations={"tanh": 4}, findings={"nonfinite": "forward:mul#1"})
def infinity_later() -> Setting:
    return classifying(Planted(float("inf"), 1, 7), (32, 16))
