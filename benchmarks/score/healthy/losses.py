"""Losses of every size and shape, and data with little to learn or nothing left to learn."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from benchmarks.score.data import (
    accuracy,
    cancer,
    circles,
    cross_entropy,
    diabetes,
    digits,
    fit,
    he,
    mlp,
    moons,
    predict,
    shuffled,
)
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


def sign_accuracy(model: nn.Module) -> float:
    """Share of the tumours on the right side of zero."""
    data = cancer()
    return ((predict(model, data.x)[:, 0] > 0).long() == data.y).float().mean().item()


@healthy(good=0.97)
def hinge_satisfied() -> Training:
    """A hinge loss: once every margin is kept, loss and gradient are exactly zero."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.relu(1 - (2 * batch[1] - 1) * model(batch[0])[:, 0]).mean()

    return fit(mlp([30, 64, 1], init=he), cancer(), loss=loss, metric=sign_accuracy, lr=3e-3, steps=500)


@healthy(good=0.9)
def triplets() -> Training:
    """Triplets of random digits: most are soon easy, and give no gradient."""
    data = digits()
    model = mlp([64, 128, 16], init=he)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        order = torch.randperm(len(y))
        same = torch.stack([order[(y[order] == c)][0] for c in y])
        other = torch.stack([order[(y[order] != c)][0] for c in y])
        z = F.normalize(m(x), dim=1)
        return F.triplet_margin_loss(z, z[same], z[other], margin=0.3)

    def metric(m: nn.Module) -> float:
        z = F.normalize(predict(m, data.x[:800]), dim=1)
        near = (z @ z.T - 2 * torch.eye(800)).argmax(1)
        return (data.y[near] == data.y[:800]).float().mean().item()

    return fit(model, data, loss=loss, metric=metric, steps=250)


@healthy(good=0.95)
def one_output_unit() -> Training:
    """One logit and binary cross-entropy."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1].float())

    return fit(mlp([30, 32, 1], nn.Tanh), cancer(), loss=loss, metric=sign_accuracy, lr=3e-3, steps=200)


@healthy(good=0.95)
def sigmoid_and_square() -> Training:
    """A sigmoid at the output with a squared error, as the textbooks of the nineties have it."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]) - F.one_hot(batch[1], 10)).square().sum(1).mean()

    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    return fit(model, digits(), loss=loss, optimizer="sgd", lr=1.0, steps=1200, batch=32)


@healthy(good=0.95)
def summed_loss() -> Training:
    """The sum over the batch, with a rate that much smaller."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    return fit(mlp([64, 64, 64, 10], init=he), digits(), loss=loss, optimizer="sgd", lr=1e-3)


@healthy(good=0.3)
def raw_targets() -> Training:
    """Targets from 25 to 346, not scaled, with Adam: a loss of 29,000 at the start."""
    return fit(mlp([10, 64, 64, 1], init=he), diabetes(scale=False), lr=3e-3, steps=600)


class Unit(nn.Module):
    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        return self.unit * x


@healthy(good=0.3)
def tiny_targets() -> Training:
    """Targets of the size 1e-5, and an output in that unit: a loss of 1e-10; Adam's epsilon is small enough."""
    data = diabetes()
    model = mlp([10, 64, 1], nn.Tanh).append(Unit(1e-5))
    return fit(model, data._replace(y=data.y * 1e-5), lr=3e-3, eps=1e-20, steps=300)


class Uncertain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = mlp([10, 64, 64], init=he), nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = torch.relu(self.body(x))
        return (self.mean(h), self.spread(h)) if self.training else self.mean(h)


@healthy(good=0.3)
def learnt_variance() -> Training:
    """A Gaussian likelihood with its own variance: the loss may go below zero."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        mean, spread = model(batch[0])
        return F.gaussian_nll_loss(mean[:, 0], batch[1], F.softplus(spread)[:, 0])

    return fit(Uncertain(), diabetes(), loss=loss, steps=250)


class Mixture(nn.Module):
    """Eight Gaussians in the plane whose weights, means and widths come from the class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([2, 64, 64, 8 * 5], nn.Tanh)

    def forward(self, label: Tensor, point: Tensor) -> Tensor:
        """log-likelihood"""
        weight, mean, width = self.body(F.one_hot(label, 2).float()).split([8, 16, 16], 1)
        away = (point[:, None] - mean.view(-1, 8, 2)) * (-width).exp().view(-1, 8, 2)
        each = -0.5 * away.square().sum(2) - width.view(-1, 8, 2).sum(2) - math.log(2 * math.pi)
        return (weight.log_softmax(1) + each).logsumexp(1)


@healthy(good=0.7)
def mixture_density() -> Training:
    """A mixture density network. Metric: nats gained."""
    data, model = moons(), Mixture()
    with torch.no_grad():
        start = model(data.y, data.x).mean().item()

    def gained(m: nn.Module) -> float:
        with torch.no_grad():
            return m(data.y, data.x).mean().item() - start

    return fit(model, data, loss=lambda m, b: -m(b[1], b[0]).mean(), metric=gained, lr=5e-3, steps=400)


@healthy(good=0.5)
def noisy_labels() -> Training:
    """Half of the labels are drawn at random: 0.55 is all there is to reach."""
    data = digits()
    wrong = torch.rand(len(data.y)) < 0.5
    data = data._replace(y=torch.where(wrong, torch.randint(0, 10, data.y.shape), data.y))
    return fit(mlp([64, 64, 10], init=he), data)


@healthy(good=0.95)
def one_in_fifty() -> Training:
    """Two classes of which one is 2 % of the data: recall of the rare class."""
    data = circles()
    rare = (data.y == 1).nonzero()[:10, 0].repeat(1)
    keep = torch.cat([(data.y == 0).nonzero()[:, 0], rare])
    few = data._replace(x=data.x[keep], y=data.y[keep])

    def recall(m: nn.Module) -> float:
        return (predict(m, data.x[data.y == 1]).argmax(1) == 1).float().mean().item()

    return fit(mlp([2, 32, 32, 2], init=he), few, metric=recall, lr=0.01, steps=300)


@healthy(good=0.99)
def converged_and_resumed() -> Training:
    """The training of a network that had converged goes on: nothing is left to learn."""
    model = mlp([30, 64, 64, 2], init=he)
    fit(model, cancer(), lr=3e-3, steps=1500).train()
    return fit(model, cancer(), lr=1e-3, steps=150)


@healthy(good=0.99)
def one_batch() -> Training:
    """The same 32 digits at every step, learnt by heart."""
    training = fit(mlp([64, 128, 128, 10], init=he), digits(), steps=300)
    first = training.batches[0]
    training.batches = [first] * 300
    training.metric = lambda m: (predict(m, first[0]).argmax(1) == first[1]).float().mean().item()
    return training


@healthy(good=0.9)
def focal() -> Training:
    """Samples that are easy count for nothing (Lin et al. 2017)."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        each = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
        return ((1 - (-each).exp()) ** 5 * each).mean()

    return fit(mlp([64, 64, 64, 10], init=he), digits(), loss=loss, steps=400)


@healthy(good=0.9)
def contrastive() -> Training:
    """InfoNCE at temperature 0.05: a softmax that is nearly one-hot."""
    data = digits()
    model = mlp([64, 128, 32], norm=nn.BatchNorm1d)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        a, b = (F.normalize(m(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=1) for _ in range(2))
        return F.cross_entropy(a @ b.T / 0.05, torch.arange(len(a)))

    def metric(m: nn.Module) -> float:
        z = F.normalize(predict(m, data.x[:800]), dim=1)
        return (data.y[(z @ z.T - 2 * torch.eye(800)).argmax(1)] == data.y[:800]).float().mean().item()

    return fit(model, data, loss=loss, metric=metric, steps=200)


@healthy(good=0.95)
def random_targets_from_a_start() -> Training:
    """Nothing to learn: labels drawn at random, of a network that keeps near chance. Metric: 1 - |gain|."""
    data = digits()
    data = data._replace(y=torch.randint(0, 10, data.y.shape))
    training = fit(mlp([64, 32, 10], init=he), data, lr=1e-3, steps=150)
    training.metric = lambda m: 1.0 if accuracy(data)(m) < 0.5 else 0.0
    return training


@healthy(good=0.95)
def smoothed_and_mixed() -> Training:
    """Label smoothing with mixup: the loss cannot fall below 0.5."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        share, order = 0.5 + 0.5 * torch.rand(()), torch.randperm(len(batch[1]))
        out = model(share * batch[0] + (1 - share) * batch[0][order])
        near = F.cross_entropy(out, batch[1], label_smoothing=0.1)
        return share * near + (1 - share) * F.cross_entropy(out, batch[1][order], label_smoothing=0.1)

    return fit(mlp([64, 128, 10], init=he), digits(), loss=loss)


@healthy(good=0.9)
def huge_inputs_normalised_inside() -> Training:
    """Measures up to 4,254 that go through BatchNorm first."""
    model = nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 2))
    return fit(model, cancer(scale=False), lr=3e-3, steps=200, loss=cross_entropy)


@healthy(good=0.9)
def varying_batches() -> Training:
    """Batches of 1, 7, 64 and 500 samples in turn."""
    training = fit(mlp([64, 64, 64, 10], init=he), digits())
    sizes = [shuffled(digits(), n, 100) for n in (1, 7, 64, 500)]
    training.batches = [batch for four in zip(*sizes, strict=True) for batch in four]
    return training
