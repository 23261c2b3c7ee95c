"""Rows 36 and 40 to 46: ways to compute that are out of the ordinary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from rows import Setting, classifying, row, teacher
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm
from torch.utils.data import DataLoader, TensorDataset


class Ensemble(nn.Module):
    """torch.func inside: a batch of layers by vmap over functional_call."""

    def __init__(self, members: int = 3) -> None:
        super().__init__()
        self.one = nn.Linear(16, 32)
        self.members = nn.ModuleList(nn.Sequential(nn.Linear(32, 16), nn.Tanh()) for _ in range(members))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.one(x))
        named = [dict(m.named_parameters()) for m in self.members]
        stacked = {n: torch.stack([p[n] for p in named]) for n in named[0]}

        def call(parameters: dict[str, Tensor], h: Tensor) -> Tensor:
            return torch.func.functional_call(self.members[0], parameters, (h,))

        return self.head(torch.func.vmap(call, (0, None))(stacked, h).mean(0))


@row(36, "torch.func: vmap of functional_call", activations={"relu": 1}, not_observed=["vmap"], fast=True)
def vmapped() -> Setting:
    return classifying(Ensemble(), (32, 16))


class Stateless(nn.Module):
    """functional_call of a submodule with parameters computed in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = nn.Sequential(nn.Linear(16, 32), nn.Sigmoid()), nn.Parameter(torch.ones(1))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scaled = {n: p * self.scale for n, p in self.inner.named_parameters()}
        return self.head(torch.func.functional_call(self.inner, scaled, (x,)))


@row(36, "torch.func: functional_call with computed weights", activations={"sigmoid": 1})
def functional_call() -> Setting:
    return classifying(Stateless(), (32, 16))


TURNED = "a pass that makes other calls"


class Equilibrium(nn.Module):
    """A layer that is run until it no longer changes: another depth in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.inject, self.layer, self.head = nn.Linear(16, 24), nn.Linear(24, 24), nn.Linear(24, 4)
        nn.init.orthogonal_(self.layer.weight, 0.6)

    def forward(self, x: Tensor) -> Tensor:
        u = self.inject(x)
        z = torch.zeros_like(u)
        for _ in range(30):
            new = torch.tanh(self.layer(z) + u)
            if (new - z).detach().abs().max() < 1e-2:
                break
            z = new
        return self.head(new)


@row(40, "a loop of dynamic depth (DEQ)", activations={"tanh": 8}, not_observed=[TURNED], every_step=False)
def equilibrium() -> Setting:
    return classifying(Equilibrium(), (32, 16))


class Graph(nn.Module):
    """Message passing by index_add, no library."""

    def __init__(self, edges: Tensor, nodes: int) -> None:
        super().__init__()
        self.register_buffer("edges", edges)
        degree = torch.zeros(nodes).index_add(0, edges[1], torch.ones(edges.shape[1])).clamp(min=1)
        self.register_buffer("degree", degree[:, None])
        self.one, self.two, self.head = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.one, self.two):
            h = layer(x)
            source, target = self.edges
            h = h + torch.zeros_like(h).index_add(0, target, h[source]) / self.degree
            x = F.relu(h)
        return self.head(x)


@row(41, "graph network by index_add", activations={"relu": 2})
def graph() -> Setting:
    edges = torch.randint(64, (2, 200), generator=torch.Generator().manual_seed(0))
    return classifying(Graph(edges, 64), (64, 16))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


@row(
    42,
    "TransformerEncoder and MultiheadAttention",
    activations={"gelu": 2},
    not_observed=["fused attention"],
)
def transformer_encoder() -> Setting:
    return classifying(Encoder(), (8, 6, 32))


class SquaredReLU(torch.autograd.Function):
    """max(0, x)², with its backward pass written by hand."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0).square()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 2 * x.clamp(min=0)


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = SquaredReLU.apply(self.one(x))
        return self.head(F.relu(self.two(h)))


@row(
    43, "activation as autograd.Function", activations={"relu": 1}, not_observed=["custom autograd.Function"], fast=True
)
def custom_function() -> Setting:
    return classifying(Custom(), (32, 16))


@row(44, "spectral_norm and parametrizations", activations={"relu": 3})
def parametrized() -> Setting:
    layers = [
        spectral_norm(nn.Linear(16, 32)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(32, 32)),
        nn.ReLU(),
        parametrizations.orthogonal(nn.Linear(32, 32)),
        nn.ReLU(),
        parametrizations.weight_norm(nn.Linear(32, 4)),
    ]
    return classifying(nn.Sequential(*layers), (32, 16))


@row(46, "DataLoader with spawned workers", activations={"relu": 1})
def spawned_workers() -> Setting:
    pairs = teacher((96, 16), 4, 1)[0]
    loader = DataLoader(
        TensorDataset(*pairs),
        batch_size=32,
        num_workers=1,
        multiprocessing_context="spawn",
        generator=torch.Generator().manual_seed(0),
    )
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    seen: list[list[Tensor]] = []

    def loss(k: int) -> Tensor:
        if k >= len(seen):  # the workers of an epoch start within a step
            seen.extend(loader)
        x, target = seen[k]
        return F.cross_entropy(model(x), target)

    return Setting(model, torch.optim.AdamW(model.parameters(), 3e-3), loss, steps=3)
