"""Models that cut their graph, start at zero or leave parameters aside, and mean it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def chain(*sizes: int) -> nn.Sequential:
    parts = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


class Between(nn.Module):
    """Two layers and what a function makes of the values between them."""

    def __init__(self, between: Callable[[Any, Tensor], Tensor], width: int = 32) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(16, 32), nn.Linear(width, 4), between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self, torch.relu(self.first(x))))


class Gan(nn.Module):
    """Both nets in one module; each forward pass says which one it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.judge = chain(8, 32, 16), chain(16, 32, 1)

    def forward(self, x: Tensor, critic: bool) -> Tensor:
        fake = self.make(x[:, :8])
        if critic:
            return self.judge(fake.detach()).mean() - self.judge(x).mean()
        return -self.judge(fake).mean()


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(16, 32).requires_grad_(False), nn.Linear(32, 4)
        self.down, self.up = nn.Linear(16, 4, bias=False), nn.Linear(4, 32, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.up(self.down(x))))


class Gated(nn.Module):
    """Blocks that are modulated by a layer at 0, before a last layer at 0, as a diffusion transformer's."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(16, elementwise_affine=False) for _ in range(2))
        self.bodies = nn.ModuleList(chain(16, 32, 16) for _ in range(2))
        self.gates = nn.ModuleList(nn.Linear(16, 48) for _ in range(2))
        self.last = nn.Linear(16, 4)
        for layer in (*self.gates, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        condition = x
        for norm, body, gates in zip(self.norms, self.bodies, self.gates, strict=True):
            shift, scale, gate = gates(F.silu(condition)).chunk(3, -1)
            x = x + gate * body(norm(x) * (1 + scale) + shift)
        return self.last(x)


class Experts(nn.Module):
    """The best of eight experts; most of them are not asked in a step."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(16, 8), nn.Linear(16, 4)
        self.experts = nn.ModuleList(chain(16, 32, 16) for _ in range(8))
        for expert in self.experts:
            nn.init.zeros_(expert[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        share, choice = self.router(x.mean(0, keepdim=True).expand_as(x)).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows = (choice == i).nonzero().squeeze(1)
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * share[rows, None])
        return self.head(x + out)


class Codebook(nn.Module):
    """A vector quantiser whose codes follow by an average; the encoder's gradient goes straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = chain(16, 32, 8), chain(8, 32, 16)
        self.codes = nn.Embedding(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        chosen = torch.cdist(z, self.codes.weight).argmin(1)
        q = self.codes(chosen)
        if self.training:
            with torch.no_grad():
                self.codes.weight.index_copy_(0, chosen, 0.9 * self.codes.weight[chosen] + 0.1 * z)
        commitment = F.mse_loss(z, q.detach())
        return F.mse_loss(self.decode(z + (q - z).detach()), x) + 0.25 * commitment


class Byol(nn.Module):
    """An online net that predicts what a slow copy of it says; the copy needs no gradient and still asks for one."""

    def __init__(self, moves: bool) -> None:
        super().__init__()
        self.online, self.predict = chain(16, 32, 8), nn.Linear(8, 8)
        self.target, self.moves = copy.deepcopy(self.online), moves

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if self.moves:
                for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                    slow.lerp_(fast, 0.1)
            goal = self.target(x + 0.1)
        return -F.cosine_similarity(self.predict(self.online(x)), goal.detach()).mean()


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Logging(nn.Module):
    """Numbers for a log, masks and choices, all cut off and none of them a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(16, 32), nn.Linear(32, 4), nn.Linear(32, 2)
        self.log: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        self.log += [h.mean().item(), h.detach().std(), h.argmax(1), h.detach().numpy().max(), self.unused(h)]
        h = h * (h > 0) + (h - h.detach())
        top = h.topk(8, dim=1)
        return self.second(torch.zeros_like(h).scatter(1, top.indices, top.values))


class Frozen(nn.Module):
    def __init__(self, evaluates: bool) -> None:
        super().__init__()
        self.body, self.head, self.evaluates = chain(16, 32, 32), nn.Linear(32, 4), evaluates

    def forward(self, x: Tensor) -> Tensor:
        self.body.train(not self.evaluates)
        with torch.no_grad():
            h = self.body(x)
        return self.head(h)


class Words(nn.Module):
    """Positions and words that start at 0, of which a step uses few; tied to the output."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(300, 16), nn.Parameter(torch.zeros(64, 16))
        self.body = nn.Linear(16, 16)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.abs() * 40).long().clamp(max=299)
        h = self.words(tokens) + self.places[: tokens.shape[1]]
        h = h + torch.tanh(self.body(h)).cumsum(1)
        return F.cross_entropy((h @ self.words.weight.t())[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


class Residual(nn.Module):
    """x + last(relu(first(x))) three times, each last layer and the head at 0, a scale at 0 or a norm at 0."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.bodies, self.head, self.way = nn.ModuleList(chain(16, 32, 16) for _ in range(3)), nn.Linear(16, 4), way
        self.scales = nn.Parameter(torch.zeros(3))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))
        if way == "fixup":
            for layer in (*(b[-1] for b in self.bodies), self.head):
                nn.init.zeros_(layer.weight)
        for norm in self.norms:
            nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        for body, scale, norm in zip(self.bodies, self.scales, self.norms, strict=True):
            h = body(x)
            x = x + (h * scale if self.way == "rezero" else norm(h) if self.way == "norm" else h)
        return self.head(x)


class Equilibrium(nn.Module):
    """A fixed point that is looked for without gradients, and one step from it with them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.head = nn.Linear(32, 32), nn.Linear(16, 32), nn.Linear(32, 4)
        nn.init.normal_(self.inner.weight, std=0.08)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            z = torch.zeros(len(x), 32)
            for _ in range(8):
                z = torch.tanh(self.inner(z) + self.outer(x))
        return self.head(torch.tanh(self.inner(z) + self.outer(x)))


class Local(nn.Module):
    """Each block has a loss of its own and hands on what it makes without its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(chain(16, 16) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(16, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for block, head in zip(self.blocks, self.heads, strict=True):
            x = torch.relu(block(x))
            found.append(head(x))
            x = x.detach()
        return torch.stack(found).mean(0)


class Positions(nn.Module):
    """A mean over places that all start at 0: each gets the same gradient, and none is a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Parameter(torch.zeros(16, 16))
        self.out = nn.Parameter(torch.randn(16, 4) / 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.abs() * 20).long().clamp(max=49)
        return (self.words(tokens) + self.places).mean(1) @ self.out


class Softmax(torch.autograd.Function):
    """A function of the user's own with a name that torch has too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Odd(nn.Module):
    """Complex and batched weights, a mapped function, sparse gradients, a view of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.waves, self.table = nn.Linear(16, 8, dtype=torch.cfloat), nn.EmbeddingBag(20, 8, sparse=True)
        self.many, self.out = nn.Parameter(torch.randn(4, 8, 8) / 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.waves(x.to(torch.cfloat)).abs() + self.table((x.abs() * 5).long().clamp(max=19))
        mapped = torch.vmap(torch.mv, in_dims=(None, 0))(self.many[0], h)
        mixed = torch.einsum("bi,eij->bj", mapped, self.many) @ self.many[1].t()
        return Softmax.apply(self.out(torch.tanh(mixed)))
