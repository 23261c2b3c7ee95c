"""Rows 16, 21 to 24, 33 and 34: models whose parts or output are out of the ordinary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from rows import Setting, classifying, counting, row, teacher
from torch import Tensor, nn


class Adapter(nn.Module):
    """LoRA: a frozen layer and a trained update of low rank, W x + B A x."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.randn(layer.out_features, rank) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.a.T @ self.b.T


@row(16, "LoRA adapters on frozen layers", activations={"gelu": 2})
def lora() -> Setting:
    layers = [Adapter(nn.Linear(16, 32)), nn.GELU(), Adapter(nn.Linear(32, 32)), nn.GELU(), nn.Linear(32, 4)]
    return classifying(nn.Sequential(*layers), (32, 16))


class VAE(nn.Module):
    """A dict as output; nothing of it is a tensor at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.mean, self.log_variance = nn.Linear(16, 32), nn.Linear(32, 4), nn.Linear(32, 4)
        self.decode, self.out = nn.Linear(4, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.elu(self.encode(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return {"x": self.out(F.elu(self.decode(z))), "mean": mean, "log_variance": log_variance}


@row(21, "VAE with a dict as output", activations={"elu": 2, "exponential": 1}, fast=True)
def vae() -> Setting:
    model, batches = VAE(), [x for x, _ in teacher((32, 16), 2, 12)]

    def loss(k: int) -> Tensor:
        y = model(batches[k])
        divergence = 0.5 * (y["mean"].square() + y["log_variance"].exp() - 1 - y["log_variance"]).mean()
        return F.mse_loss(y["x"], batches[k]) + 0.01 * divergence

    return Setting(model, torch.optim.AdamW(model.parameters(), 3e-3), loss)


@dataclass
class Answer:
    """An output that torch's pytree does not know."""

    logits: Tensor
    features: list[Tensor]


class Answering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Answer:
        h = self.body(x)
        return Answer(self.head(h), [h])


@row(22, "a dataclass as output", activations={"swish": 2})
def dataclass_output() -> Setting:
    return classifying(Answering(), (32, 16), output=lambda y: y.logits)


class Shared(nn.Module):
    """One activation module for three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.act, self.head = nn.ReLU(), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.one, self.two, self.three):
            x = self.act(layer(x))
        return self.head(x)


@row(23, "one activation module, three calls", activations={"relu": 3}, fast=True)
def shared_activation() -> Setting:
    return classifying(Shared(), (32, 16))


class Tied(nn.Module):
    """A small decoder whose head is its embedding."""

    def __init__(self, size: int = 32, width: int = 32) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(size, width), nn.Linear(width, size, bias=False)
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 64), nn.Linear(64, width)
        nn.init.normal_(self.embed.weight, 0, 0.2)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x)


def predicting(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, size: int = 32) -> Setting:
    batches = counting(size, 8, 16, 12)

    def loss(k: int) -> Tensor:
        return F.cross_entropy(model(batches[k][:, :-1]).flatten(0, 1), batches[k][:, 1:].flatten())

    return Setting(model, optimizer or torch.optim.AdamW(model.parameters(), 3e-3), loss)


@row(24, "head tied to the embedding", activations={"gelu": 1})
def tied() -> Setting:
    return predicting(Tied())


@row(33, "lazy modules", activations={"relu": 2}, fast=True)
def lazy() -> Setting:
    model = nn.Sequential(
        nn.LazyConv2d(8, 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(32),
        nn.ReLU(),
        nn.Linear(32, 4),
    )
    return classifying(model, (8, 2, 8, 8), optimizer=torch.optim.SGD(model.parameters(), 0.05))


class Sparse(nn.Module):
    """Sparse gradients: only the rows that were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(32, 16, sparse=True), nn.Linear(16, 32)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(tokens)))


@row(34, "sparse embedding", activations={"tanh": 1}, fast=True)
def sparse_embedding() -> Setting:
    model = Sparse()
    return predicting(model, torch.optim.SGD(model.parameters(), 0.5))
