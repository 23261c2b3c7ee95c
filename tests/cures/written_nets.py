"""Networks whose faults stand in their own source, as a user writes them; for the tests of edits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)


class Detached(Layers):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x)).detach()
        return self.out(self.second(h).relu())


class Data(Layers):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.out((self.second(h.data)).relu())


class Decorated(Layers):
    @torch.autocast("cpu", enabled=False)
    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.out(self.second(h.detach()).relu())


class Chained(Layers):
    """A call over several lines, within a function inside the method."""

    def forward(self, x: Tensor) -> Tensor:
        def begin(x: Tensor) -> Tensor:
            return (
                self.first(x)
                .tanh()
                .detach()
            )  # fmt: skip

        return self.out(self.second(begin(x)).relu())


class Ungraded(Layers):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.first(x)
            # what follows is fine
            h = torch.tanh(h)
        return self.out(self.second(h).relu())


class Threshold(Layers):
    def forward(self, x: Tensor) -> Tensor:
        ü = self.first(x)  # a name that is longer in bytes than in characters
        return self.out(self.second((ü > 0.5).float()).relu())


class Signs(Layers):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = torch.sign(h)
        return self.out(self.second(h).relu())


class Logarithm(Layers):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h * (h > 0)
        return self.out(torch.where(h > 0, h.log(), torch.zeros_like(h)))


class Root(Layers):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h * (h > 0)
        return self.out(torch.sqrt(h))


class OneUnit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(self.head(torch.tanh(self.body(x))), dim=-1).squeeze(1)


class Twice(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.first(x))).softmax(dim=1)


class OverBatch(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.out(torch.tanh(self.first(x))), dim=0)


def squash(h: Tensor) -> Tensor:
    return torch.sigmoid(h)


class Helped(Layers):
    """Its activation is in a function of the module."""

    def forward(self, x: Tensor) -> Tensor:
        return self.out(squash(self.second(squash(self.first(x)))))


class Derived(Helped):
    """Its forward calls the one above."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2.0


class Gated(Layers):
    """Sigmoids that multiply are gates, and stay."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        z = torch.sigmoid(self.second(h))
        h = (1 - z) * h + z * torch.tanh(self.second(h))
        return self.out(h)


class Attention(nn.Module):
    """Tokens attend to one another, with logits that nobody divides by √d."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(6, width), nn.Linear(width, 3)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        q, k, v = self.query(h), self.key(h), self.value(h)
        scores = q @ k.transpose(-2, -1)
        return self.out((h + torch.softmax(scores, dim=-1) @ v).mean(1))


class Scaled(Attention):
    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        q, k, v = self.query(h), self.key(h), self.value(h)
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        return self.out((h + F.softmax(scores, dim=-1) @ v).mean(1))


class Fused(Attention):
    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = h + F.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h))
        return self.out(h.mean(1))


class Forgetful(nn.Module):
    """A cell in a loop that hands on no gradient from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.RNNCell(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            if t % 2:
                h = h.detach()
        return self.out(self.cell(x[:, -1], h))


class Bounded(nn.Module):
    """A regression whose output is squashed."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(torch.tanh(self.body(x)))
        return torch.sigmoid(y).squeeze(1)


class Rectified(Bounded):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.out(torch.tanh(self.body(x))).squeeze(1))
