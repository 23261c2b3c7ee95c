"""Losses over structures, counts, times and sets, where a sample is more than a row and its class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, accuracy, cancer, diabetes, digits, fit, mlp, moons, predict
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(8, 48, batch_first=True, bidirectional=True), nn.Linear(96, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0]).log_softmax(-1)


def strips(rows: int = 600) -> tuple[Tensor, Tensor]:
    """Three digits side by side, read column by column: (rows, 24, 8) and the three classes."""
    data = digits()
    which = torch.randint(0, len(data.x), (rows, 3))
    return data.x[which].view(rows, 3, 8, 8).transpose(2, 3).reshape(rows, 24, 8), data.y[which]


@healthy(good=0.6)
def connectionist() -> Training:
    """CTC: the net says blanks only for the first tenth of the run, then finds the digits (Graves et al. 2006)."""
    x, y = strips()

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        n = len(b[0])
        return F.ctc_loss(m(b[0]).transpose(0, 1), b[1] + 1, torch.full((n,), 24), torch.full((n,), 3))

    def right(m: nn.Module) -> float:
        hits = 0
        for said, want in zip(predict(m, x).argmax(-1), y, strict=True):
            letters = [c for c in torch.unique_consecutive(said).tolist() if c]
            hits += letters == [c + 1 for c in want.tolist()]
        return hits / len(x)

    return fit(Reader(), Data(x, y, 11), loss=loss, metric=right, lr=4e-3, batch=32, steps=350)


class Pointer(nn.Module):
    """Which of the ten numbers is the largest? The answer is a place in the input, by attention over it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.key, self.query = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 32), nn.Linear(32, 32)
        self.score = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        states = self.rnn(x[:, :, None])[0]
        return self.score(torch.tanh(self.key(states) + self.query(states[:, -1:])))[:, :, 0]


@healthy(good=0.8)
def pointer() -> Training:
    """A pointer network, with additive attention (Vinyals et al. 2015)."""
    x = torch.rand(2000, 10)
    return fit(Pointer(), Data(x, x.argmax(1), 10), lr=5e-3, steps=400)


class Chain(nn.Module):
    """A conditional random field on top of scores: what is likely depends on the neighbour."""

    def __init__(self, tags: int = 3) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(12, 16), nn.Conv1d(16, 32, 3, padding=1)
        self.out, self.between = nn.Linear(32, tags), nn.Parameter(torch.zeros(tags, tags))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.body(self.embed(x).transpose(1, 2))).transpose(1, 2))

    def unlikelihood(self, x: Tensor, tags: Tensor) -> Tensor:
        scores = self(x)
        own = scores.gather(2, tags[:, :, None]).sum((1, 2)) + self.between[tags[:, :-1], tags[:, 1:]].sum(1)
        alpha = scores[:, 0]
        for t in range(1, scores.shape[1]):
            alpha = scores[:, t] + torch.logsumexp(alpha[:, :, None] + self.between, 1)
        return (torch.logsumexp(alpha, 1) - own).mean()


@healthy(good=0.8)
def random_field() -> Training:
    """Forty logsumexps in series, of scores that grow; its transitions start at zero."""
    x = torch.randint(0, 12, (800, 40))
    tags = (x % 3 + torch.roll(x, 1, 1) // 6) % 3

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        assert isinstance(m, Chain)
        return m.unlikelihood(b[0], b[1])

    right = lambda m: (predict(m, x).argmax(-1) == tags).float().mean().item()  # noqa: E731
    return fit(Chain(), Data(x, tags, 3), loss=loss, metric=right, lr=1e-2, batch=32, steps=150)


class Chooser(nn.Module):
    """One of six experts by a hard Gumbel softmax, straight through, ever colder."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.heat = nn.Linear(64, 6), 2.0
        self.experts = nn.ModuleList(mlp([64, 32, 10]) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        share = F.gumbel_softmax(self.router(x), self.heat, hard=True) if self.training else self.router(x).softmax(1)
        said = torch.stack([expert(x) for expert in self.experts], 1)
        return (share[:, :, None] * said).sum(1)


@healthy(good=0.9)
def gumbel_experts() -> Training:
    """Hard choices with a gradient that is not theirs, the temperature falling to 0.3 (Jang et al. 2017)."""
    model = Chooser()

    def cool(step: int) -> None:
        model.heat = max(0.3, 2.0 * 0.99**step)

    return fit(model, digits(), after=cool, lr=3e-3, steps=300)


@healthy(good=0.25)
def counts() -> Training:
    """Poisson regression: the output is a logarithm, the loss goes below zero."""
    data = diabetes()
    model = mlp([10, 64, 1], nn.SiLU)
    rate = (0.8 * data.y + 0.5).exp()
    drawn = torch.poisson(rate)

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return F.poisson_nll_loss(m(b[0])[:, 0], b[1], log_input=True)

    def explained(m: nn.Module) -> float:
        said = predict(m, data.x)[:, 0]
        own, none = (F.poisson_nll_loss(s, drawn) for s in (said, drawn.mean().log().expand_as(said)))
        best = F.poisson_nll_loss(rate.log(), drawn)
        return ((none - own) / (none - best)).item()

    return fit(model, data._replace(y=drawn), loss=loss, metric=explained, lr=3e-3, steps=200)


@healthy(good=0.7)
def survival() -> Training:
    """Cox's partial likelihood: one output, and a loss that compares all of a batch; half of the times are cut off."""
    data = cancer()
    risk = data.x[:, 0] + data.x[:, 1] * data.x[:, 4]
    time = -torch.log(torch.rand(len(risk))) * (-risk).exp()
    seen = time < time.median()

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        rows = b[1]
        order = time[rows].argsort(descending=True)
        said = m(b[0])[order, 0]
        return -(said - said.logcumsumexp(0))[seen[rows][order]].mean()

    def concordance(m: nn.Module) -> float:
        said = predict(m, data.x)[:, 0]
        pairs = seen[:, None] & (time[:, None] < time)
        return (said[:, None] > said)[pairs].float().mean().item()

    rows = data._replace(y=torch.arange(len(risk)))
    return fit(mlp([30, 64, 1]), rows, loss=loss, metric=concordance, batch=128, steps=200)


class DeepKernel(nn.Module):
    """A Gaussian process on features that are learnt; the parameters of its kernel are logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mlp([2, 32, 2], nn.Tanh)
        self.width, self.noise = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(-1.0))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(self.features(a), self.features(b)).square() / (2 * (2 * self.width).exp()))


@healthy(good=0.9)
def deep_kernel() -> Training:
    """The marginal likelihood of a batch: a gradient through a Cholesky factor (Wilson et al. 2016)."""
    data = moons()
    y = torch.sin(4 * data.x[:, 0]) + data.y

    def factor(m: nn.Module, x: Tensor) -> Tensor:
        noise = m.get_parameter("noise").exp()
        return torch.linalg.cholesky(m(x, x) + (noise + 1e-4) * torch.eye(len(x)))

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        lower = factor(m, b[0])
        half = torch.linalg.solve_triangular(lower, b[1][:, None], upper=False)
        return (0.5 * half.square().sum() + lower.diagonal().log().sum() + 32 * math.log(2 * math.pi)) / len(b[0])

    def explained(m: nn.Module) -> float:
        with torch.no_grad():
            weights = torch.cholesky_solve(y[:200, None], factor(m, data.x[:200]))
            said = (m(data.x[200:], data.x[:200]) @ weights)[:, 0]
        return 1 - (F.mse_loss(said, y[200:]) / y.var()).item()

    return fit(DeepKernel(), data._replace(y=y, outputs=1), loss=loss, metric=explained, lr=0.02, steps=150)


class Uncertain(nn.Module):
    """Every weight has a mean and a width, which starts at 0.01 through a softplus that is nearly flat there."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(fan_out, fan_in) / fan_in**0.5)
        self.raw = nn.Parameter(torch.full((fan_out, fan_in), -4.6))

    def forward(self, x: Tensor) -> Tensor:
        width = F.softplus(self.raw)
        weight = self.mean + width * torch.randn_like(width) if self.training else self.mean
        return F.linear(x, weight)

    def divergence(self) -> Tensor:
        width = F.softplus(self.raw)
        return (0.5 * (self.mean.square() + width.square() - 1) - width.log()).sum()


@healthy(good=0.95)
def uncertain_weights() -> Training:
    """Bayes by backprop: a loss of which most is the distance to the prior (Blundell et al. 2015)."""
    model = nn.Sequential(Uncertain(64, 96), nn.ReLU(), Uncertain(96, 10))

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        far = sum(layer.divergence() for layer in m.children() if isinstance(layer, Uncertain))
        return F.cross_entropy(m(b[0]), b[1]) + far / 1797 / 10

    return fit(model, digits(), loss=loss, metric=accuracy(digits()), lr=3e-3, steps=300)


class SoftTree(nn.Module):
    """A tree of depth 5: a leaf's share is a product of sigmoids, so most leaves have next to none."""

    def __init__(self, depth: int = 5) -> None:
        super().__init__()
        self.gates, self.leaves = nn.Linear(64, 2**depth - 1), nn.Parameter(0.01 * torch.randn(2**depth, 10))
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        gates, share = torch.sigmoid(self.gates(x)), torch.ones(len(x), 1)
        for level in range(self.depth):
            here = gates[:, 2**level - 1 : 2 ** (level + 1) - 1]
            share = torch.stack([share * here, share * (1 - here)], 2).flatten(1)
        return share @ self.leaves


@healthy(good=0.85)
def soft_tree() -> Training:
    """Gates that end at 0 or 1, as they should (Frosst and Hinton 2017)."""
    return fit(SoftTree(), digits(), lr=0.02, steps=400)
