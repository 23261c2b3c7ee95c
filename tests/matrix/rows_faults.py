"""Row 48: a value that is not finite, which arises at a known operation and step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rows import Setting, classifying, row
from torch import Tensor, nn


class Planted(nn.Module):
    """Four layers; the result of one goes through an operation that breaks in a given pass."""

    def __init__(self, operation: Callable[[Tensor, bool], Tensor], layer: int, at: int) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(16, 16) for _ in range(4)), nn.Linear(16, 4)
        self.operation, self.layer, self.at, self.passes = operation, layer, at, 0

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = torch.tanh(layer(x))
            if i == self.layer:
                x = self.operation(x, self.passes >= self.at)
        self.passes += 1
        return self.head(x)


def root(x: Tensor, breaks: bool) -> Tensor:
    return torch.sqrt(x + (-2 if breaks else 2))


def quotient(x: Tensor, breaks: bool) -> Tensor:
    return x / torch.tensor([1.0] * 15 + [0.0 if breaks else 1.0])


@row(
    48,
    "NaN at layer 2 from the start",
    activations={"tanh": 4, "sqrt": 1},
    findings={"nonfinite": "forward:sqrt"},
    fast=True,
)
def nan_at_the_start() -> Setting:
    return classifying(Planted(root, 2, 0), (32, 16))


@row(
    48,
    "infinity at layer 3 from step 7",
    activations={"tanh": 4},
    findings={"nonfinite": "forward:div"},
    not_observed=["a pass that makes other calls"],  # the division is new
    every_step=False,
)
def infinity_later() -> Setting:
    return classifying(Planted(quotient, 3, 7), (32, 16))
