"""The networks of `bench_memory.py`: an MLP, small GPTs with two kinds of feed-forward block, a residual ConvNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut


class WrittenOut(nn.Module):
    """W_down(silu(W_gate x) · W_up x), as Llama's code has it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """W₂ gelu(W₁ x), as GPT-2's code has it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc, self.proj = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(F.gelu(self.fc(x)))


class Block(nn.Module):
    """Causal attention and a feed-forward block, each after a LayerNorm and beside a residual path."""

    def __init__(self, width: int, heads: int, mlp: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out, self.mlp = nn.Linear(width, 3 * width), nn.Linear(width, width), mlp

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        parts = self.qkv(self.norms[0](x)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    """A language model of characters."""

    def __init__(self, mlp: Callable[[int], nn.Module], width: int = 256, layers: int = 4, context: int = 256) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(96, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, 4, mlp(width)) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 96))

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.blocks(self.tokens(tokens) + self.places(places))).flatten(0, 1)


class Residual(nn.Module):
    """Two 3×3 convolutions with BatchNorm and SiLU beside a residual path, as in ResNet."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        stride = 1 if channels == out else 2
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for _ in range(2))
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride, bias=False)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(self.act(self.norms[0](self.first(x)))))
        return self.act(y + self.shortcut(x))


def convnet() -> nn.Module:
    stem = (nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.SiLU())
    stages = (Residual(a, b) for a, b in ((32, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)))
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def mlp() -> nn.Module:
    hidden = (m for _ in range(8) for m in (nn.GELU(), nn.Linear(1024, 1024)))
    return nn.Sequential(nn.Linear(256, 1024), *hidden, nn.GELU(), nn.Linear(1024, 10))


class Case(NamedTuple):
    """A network, and a batch for it."""

    plain: Callable[[], nn.Module]
    lean: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]


def leaned(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        model = make()
        ut.lean(model)
        return model

    return made


def text() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, 96, (8, 257), generator=torch.Generator().manual_seed(0))
    return tokens[:, :-1], tokens[:, 1:].flatten()


def numbers(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    def made() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator), torch.randint(0, 10, shape[:1], generator=generator)

    return made


def gpt(block: Callable[[int, int], nn.Module], hidden: int) -> Callable[[], nn.Module]:
    return lambda: GPT(lambda width: block(width, hidden))


def swiglu(width: int, hidden: int) -> nn.Module:
    """Our block with torch's SiLU, so that both sides compute the same function by the same kernel."""
    return ut.nn.GatedMLP(nn.SiLU(), width, hidden)


CASES = {
    "MLP, GELU": Case(mlp, leaned(mlp), numbers(1024, 256)),
    "GPT, GELU": Case(gpt(FeedForward, 1024), leaned(gpt(FeedForward, 1024)), text),
    "GPT, SwiGLU": Case(gpt(WrittenOut, 688), leaned(gpt(WrittenOut, 688)), text),
    "GPT, SwiGLU as `ut.nn.GatedMLP`": Case(gpt(WrittenOut, 688), leaned(gpt(swiglu, 688)), text),
    "ConvNet, SiLU": Case(convnet, leaned(convnet), numbers(32, 3, 32, 32)),
}
