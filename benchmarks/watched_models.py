"""The models whose watching is timed: a small MLP, a CNN, a transformer, and a net of very many tiny layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 512


def mlp(width: int, layers: int, inputs: int = 256) -> nn.Module:
    widths = [inputs] + [width] * layers
    hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def cnn() -> nn.Module:
    """Seven stages of two convolutions, 43 leaf modules."""
    layers: list[nn.Module] = []
    before = 3
    for channels, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 2)):
        for step in (stride, 1):
            layers += [nn.Conv2d(before, channels, 3, step, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    def __init__(self, width: int = 256, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(read.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(self.act(self.up(self.between(x))))


class Transformer(nn.Module):
    """Four blocks of width 256; 31 leaf modules."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens)))).flatten(0, 1)


@dataclass(frozen=True)
class Watched:
    """A model with its data, the steps of its run, and in which of them all ways to watch take part."""

    title: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    classes: int
    steps: int
    every: int

    def batch(self) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        x = self.inputs()
        return x, torch.randint(self.classes, (x.numel() if x.dtype == torch.int64 else len(x),))


WATCHED = {
    "mlp": Watched("MLP 10×256, batch 128", lambda: mlp(256, 10), lambda: torch.randn(128, 256), 10, 1500, 15),
    "cnn": Watched("CNN, 14 convolutions, batch 32", cnn, lambda: torch.randn(32, 3, 32, 32), 10, 300, 40),
    "transformer": Watched(
        "Transformer 4×256, 8×128 tokens", Transformer, lambda: torch.randint(VOCABULARY, (8, 128)), VOCABULARY, 300, 40
    ),
    "deep": Watched("1,000 layers of 16, batch 8", lambda: mlp(16, 500, 16), lambda: torch.randn(8, 16), 10, 300, 40),
}


def leaves(model: nn.Module) -> Iterator[nn.Module]:
    return (m for m in model.modules() if not any(True for _ in m.children()))
