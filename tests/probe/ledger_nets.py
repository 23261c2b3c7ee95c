"""Nets with a second, plain way to run them: every tensor that has a site, by the site's name, kept for autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def chain(model: nn.Sequential, x: Tensor) -> Tensors:
    """The outputs of a Sequential's modules; flattening only moves values and has no site."""
    found: Tensors = {}
    for name, module in model.named_children():
        x = module(x)
        if not isinstance(module, nn.Flatten):
            found[f"{name}#0"] = x
    return found


class Residual(nn.Module):
    """Pre-norm blocks; `inplace` adds with `+=`."""

    def __init__(self, inplace: bool, width: int = 12) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem, self.head = nn.Linear(6, width), nn.Linear(width, 3)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.ups = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, up in zip(self.norms, self.ups, strict=True):
            h = self.act(up(norm(x)))
            if self.inplace:
                h += x
                x = h
            else:
                x = x + h
        return self.head(x)

    @staticmethod
    def by_hand(model: nn.Module, x: Tensor) -> Tensors:
        assert isinstance(model, Residual)
        x = model.stem(x)
        found = {"stem#0": x}
        for i, (norm, up) in enumerate(zip(model.norms, model.ups, strict=True)):
            n = norm(x)
            u = up(n)
            h = F.gelu(u)
            x = x + h
            found |= {f"norms.{i}#0": n, f"ups.{i}#0": u, f"act#{i}": h, f"forward:add#{i}": x}
        found["head#0"] = model.head(x)
        return found


class Functional(nn.Module):
    """Activations called as functions and as a method; `inplace` overwrites what it is given."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.layers)[:3]:
            x = F.relu_(layer(x)) if self.inplace else F.relu(layer(x))  # the user's line
        x = torch.tanh(self.layers[3](x))
        x = self.layers[4](x).sigmoid()
        return self.layers[5](x)

    @staticmethod
    def by_hand(model: nn.Module, x: Tensor) -> Tensors:
        assert isinstance(model, Functional)
        functions = [("relu", F.relu)] * 3 + [("tanh", torch.tanh), ("sigmoid", torch.sigmoid)]
        found: Tensors = {}
        for i, (name, function) in enumerate(functions):
            h = found[f"layers.{i}#0"] = model.layers[i](x)
            x = found[f"forward:{name}#{i if name == 'relu' else 0}"] = function(h)
        found["layers.5#0"] = model.layers[5](x)
        return found


class Junction(nn.Module):
    """A view read by a skip and by a block, and an activation module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.head = nn.Linear(6, 12), nn.Linear(4, 4), nn.Linear(12, 3)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.stem(x)).view(-1, 3, 4)
        h = h + self.act(self.up(h))
        return self.head(h.flatten(1))

    @staticmethod
    def by_hand(model: nn.Module, x: Tensor) -> Tensors:
        assert isinstance(model, Junction)
        stem = model.stem(x)
        a = F.silu(stem)
        h = a.view(-1, 3, 4)
        u = model.up(h)
        b = F.silu(u)
        total = h + b
        head = model.head(total.flatten(1))
        return {"stem#0": stem, "act#0": a, "up#0": u, "act#1": b, "forward:add#0": total, "head#0": head}


@dataclass(frozen=True)
class Net:
    make: Callable[[], nn.Module]
    by_hand: Callable[[Any, Tensor], Tensors]
    shape: tuple[int, ...] = (8, 6)

    def build(self, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
        """The model, its inputs and its targets."""
        torch.manual_seed(3)
        model = self.make().to(dtype)
        return model, torch.randn(self.shape, dtype=dtype), torch.randint(0, 3, self.shape[:1])


def mlp(inplace: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 10),
        nn.Sigmoid(),
        nn.Linear(10, 10),
        nn.Tanh(),
        nn.Linear(10, 10),
        nn.ReLU(inplace),
        nn.Linear(10, 3),
    )


def cnn(inplace: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


NETS = {
    "mlp": Net(mlp, chain),
    "mlp_inplace": Net(lambda: mlp(inplace=True), chain),
    "cnn": Net(cnn, chain, (4, 2, 8, 8)),
    "cnn_inplace": Net(lambda: cnn(inplace=True), chain, (4, 2, 8, 8)),
    "residual": Net(lambda: Residual(inplace=False), Residual.by_hand),
    "residual_iadd": Net(lambda: Residual(inplace=True), Residual.by_hand),
    "functional": Net(lambda: Functional(inplace=False), Functional.by_hand),
    "functional_inplace": Net(lambda: Functional(inplace=True), Functional.by_hand),
    "junction": Net(Junction, Junction.by_hand),
}
