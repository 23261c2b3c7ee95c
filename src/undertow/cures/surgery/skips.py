"""Skip connections around the layers of a chain; its source is also what a patch shows, so it needs torch alone."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Skip(nn.Module):
    """x + scale · inner(x)."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.inner(x)


def add_skips(model: nn.Module, blocks: list[list[str]]) -> None:
    """Puts the modules of each block, which follow each other in one nn.Sequential, under a skip connection."""
    scale = 1 / math.sqrt(len(blocks))
    for names in blocks:
        parent = model.get_submodule(names[0].rpartition(".")[0])
        inner = nn.Sequential(*(model.get_submodule(name) for name in names))
        setattr(parent, names[0].rpartition(".")[2], Skip(inner, scale))
        for name in names[1:]:
            delattr(parent, name.rpartition(".")[2])
