"""The networks of the table: chains of equal layers, with what normalises or bridges them, at random initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from benchmarks.watched_models import Block
from torch import Tensor, nn

import undertow as ut

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "elu": nn.ELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BatchNorm": nn.BatchNorm1d,
    "LayerNorm": nn.LayerNorm,
    "RMSNorm": nn.RMSNorm,
}
INITIALISATIONS = ("default", "he", "xavier", "matched")


def initialise_(model: nn.Module, how: str | float) -> nn.Module:
    """By name, or normal with this standard deviation; biases become 0 but for torch's default."""
    if how == "default":
        return model
    if how == "matched":
        ut.init.match_(model)
        return model
    for layer in model.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            continue
        fan_in = layer.weight[0].numel()
        if how == "xavier":
            nn.init.xavier_normal_(layer.weight)
        else:
            nn.init.normal_(layer.weight, 0, math.sqrt(2 / fan_in) if how == "he" else float(how))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


def plain(act: str, init: str | float, width: int, depth: int) -> nn.Sequential:
    """depth × (Linear, f)."""
    return _chain(lambda: (nn.Linear(width, width), ACTIVATIONS[act]()), depth, init)


def classifier(act: str, init: str, width: int, depth: int, classes: int = 10) -> nn.Sequential:
    """depth × (Linear, f), and a last Linear to the classes."""
    layers = [m for _ in range(depth) for m in (nn.Linear(width, width), ACTIVATIONS[act]())]
    return _initialised(nn.Sequential(*layers, nn.Linear(width, classes)), init)


def norm_first(norm: str, act: str, width: int, depth: int) -> nn.Sequential:
    """depth × (Linear, norm, f), He."""
    return _chain(lambda: (nn.Linear(width, width), NORMS[norm](width), ACTIVATIONS[act]()), depth, "he")


def norm_last(norm: str, act: str, width: int, depth: int) -> nn.Sequential:
    """depth × (Linear, f, norm), He."""
    return _chain(lambda: (nn.Linear(width, width), ACTIVATIONS[act](), NORMS[norm](width)), depth, "he")


def convolutional(act: str, init: str, channels: int, depth: int) -> nn.Sequential:
    """depth × (3×3 convolution with zero padding, f)."""
    return _chain(lambda: (nn.Conv2d(channels, channels, 3, padding=1), ACTIVATIONS[act]()), depth, init)


def _chain(layer: Callable[[], tuple[nn.Module, ...]], depth: int, init: str | float) -> nn.Sequential:
    return _initialised(nn.Sequential(*(m for _ in range(depth) for m in layer())), init)


def _initialised(model: nn.Sequential, init: str | float) -> nn.Sequential:
    initialise_(model, init)
    return model


class Residual(nn.Module):
    """x + down(f(up(norm(x))))."""

    def __init__(self, width: int, act: str) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(width), ACTIVATIONS[act]()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


def residual(act: str, width: int, depth: int, std: float) -> nn.Sequential:
    """Pre-norm residual MLP blocks, after one Linear that keeps the input's size."""
    return _stream((Residual(width, act) for _ in range(depth)), width, std)


def transformer(width: int, depth: int, std: float) -> nn.Sequential:
    """Pre-norm blocks of causal attention and a GELU MLP, after one Linear that keeps the input's size."""
    return _stream((Block(width, heads=width // 64) for _ in range(depth)), width, std)


def _stream(blocks: Iterable[nn.Module], width: int, std: float) -> nn.Sequential:
    model = _initialised(nn.Sequential(nn.Linear(width, width), *blocks), std)
    initialise_(model[0], 1 / math.sqrt(width))
    return model
