"""Small networks and a training for the tests of cures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from undertow.cures import Training


class Named(nn.Module):
    """Activations as attributes, one of them in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.act = nn.Linear(6, 8), nn.Tanh()
        self.block = nn.ModuleDict({"lin": nn.Linear(8, 8), "act": nn.Sigmoid()})
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block["act"](self.block["lin"](self.act(self.up(x)))))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.up(x)))


class Recurrent(nn.Module):
    """The last state of a recurrent layer, read out."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent, self.out = kind(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.recurrent(x)[0][:, -1])


def rnn() -> nn.Module:
    return Recurrent(nn.RNN)


def lstm() -> nn.Module:
    return Recurrent(nn.LSTM)


def mlp(act: type[nn.Module] = nn.Sigmoid, depth: int = 3) -> nn.Sequential:
    layers = [layer for i in range(depth) for layer in (nn.Linear(8 if i else 6, 8), act())]
    return nn.Sequential(*layers, nn.Linear(8, 3))


def nested() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Linear(6, 8), nn.Sigmoid()), nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()), nn.Linear(8, 3)
    )


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)
    )


def training(
    model: nn.Module, *, shape: tuple[int, ...] = (6,), lr: float = 0.1, batches: int = 10, **more: Any
) -> Training:
    """Ten batches of a learnable rule: the class is the sign pattern of the first two inputs."""
    x = torch.randn(batches, 16, *shape, generator=torch.Generator().manual_seed(7))
    flat = x.flatten(2)
    y = (flat[..., 0] > 0).long() + (flat[..., 1] > 0).long()
    optimizer = more.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=lr)
    loss = more.pop("loss", nn.functional.cross_entropy)
    return Training(model, optimizer, loss, list(zip(x, y, strict=True)), **more)
