"""The two networks of the demo: the article's, which vanishes, and its twin, which explodes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.cures import Training
from undertow.demo.digits import split

DEPTH, WIDTH, CLASSES = 20, 64, 10
RATE, BATCH, STEPS = 0.1, 64, 300
"""The article's network: 20 layers of 64, plain SGD; 300 steps are 14 passes over the 1,400 images."""


def sigmoid_network() -> nn.Module:
    """20 × (Linear, Sigmoid) with torch's own initial weights: what a beginner writes."""
    return _chain(nn.Sigmoid)


def exploding_network() -> nn.Module:
    """20 × (Linear, ReLU) with twice He's gain: N(0, 4 · 2/fan_in)."""
    model = _chain(nn.ReLU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 2 * math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
    return model


def _chain(activation: Callable[[], nn.Module]) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    for i in range(1, DEPTH + 1):
        layers[f"hidden{i}"], layers[f"act{i}"] = nn.Linear(WIDTH, WIDTH), activation()
    model = nn.Sequential()
    for name, layer in (layers | {"out": nn.Linear(WIDTH, CLASSES)}).items():
        model.add_module(name, layer)
    return model


def training(network: Callable[[], nn.Module], seed: int, steps: int = STEPS) -> Training:
    """The network on the digits with SGD at 0.1; its metric is the accuracy on the 397 images held out."""
    torch.manual_seed(seed)
    model, data = network(), split(seed)

    def accuracy(trained: nn.Module) -> float:
        with torch.no_grad():
            return (trained(data.held_out_x).argmax(1) == data.held_out_y).float().mean().item()

    optimizer = torch.optim.SGD(model.parameters(), RATE)
    return Training(model, optimizer, F.cross_entropy, _batches(data.x, data.y, seed, steps), accuracy)


def _batches(x: Tensor, y: Tensor, seed: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    """Every pass over the images in a new order; the rest that fills no batch is dropped."""
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[Tensor, Tensor]] = []
    while len(found) < steps:
        order = torch.randperm(len(x), generator=generator)
        found += [(x[i], y[i]) for i in order.split(BATCH) if len(i) == BATCH]
    return found[:steps]
