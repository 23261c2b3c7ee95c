"""A graph that is cut, and outputs that do not fit the loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import (
    LETTERS,
    Data,
    Skip,
    accuracy,
    cancer,
    diabetes,
    digits,
    fit,
    he,
    images,
    mlp,
    next_letter,
    predict,
    text,
    wine,
)
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.ModuleList(Skip(nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)) for _ in range(3))
        self.out, self.cut = nn.Linear(64, 10), cut

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.cut:
            x = x.detach()
        for block in self.blocks:
            x = block(x)
        return self.out(F.adaptive_avg_pool2d(x, 2).flatten(1))


@faulty("disconnected", cause="graph", where="stem", good=0.9, stays_good=True)
def detached_stem(planted: bool) -> Training:
    """A detach behind the first convolution; the blocks learn all the same, the stem never moves."""
    return fit(Residual(planted), images(), lr=3e-3, steps=150)


class Encoded(nn.Module):
    """An encoder whose pass is wrapped in no_grad, left over from when it was frozen."""

    def __init__(self, wrapped: bool) -> None:
        super().__init__()
        self.encoder, self.out, self.wrapped = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10), wrapped

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.wrapped):
            h = self.encoder(x)[0][:, -1]
        return self.out(h)


@faulty("disconnected", cause="graph", where="encoder", good=0.95)
def encoder_without_grad(planted: bool) -> Training:
    """no_grad around a trainable recurrent encoder."""
    data = digits()
    return fit(Encoded(planted), data._replace(x=data.x.view(-1, 8, 8)), lr=3e-3, steps=250)


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(x)


@faulty("disconnected", cause="graph", where="hidden1", good=0.97, stays_good=True)
def rounded_features(planted: bool) -> Training:
    """round() as an activation: its derivative is zero everywhere, and the layers before it never move."""
    model = mlp([30, 64, 64, 2], init=he)
    if planted:
        model.act1 = Rounded()
    return fit(model, cancer(), lr=3e-3, steps=200)


class ThroughNumpy(nn.Module):
    def __init__(self, trip: bool) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(LETTERS, 24), nn.Linear(24, 48), nn.Linear(48, LETTERS)
        self.trip = trip

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.hidden(self.embed(x)))
        if self.trip:
            h = torch.from_numpy(h.detach().numpy().clip(-0.9, 0.9))
        return self.out(h)


@faulty("disconnected", cause="graph", where="embed", good=0.2, stays_good=True)
def through_numpy(planted: bool) -> Training:
    """A clip in numpy on the way."""
    return fit(ThroughNumpy(planted), text(8), loss=next_letter, lr=5e-3, steps=250)


@faulty("disconnected", cause="graph", where="hidden2", good=0.95, stays_good=True)
def forgotten_by_the_optimizer(planted: bool) -> Training:
    """A layer is replaced after the optimizer was made: it has gradients, and nobody steps it."""
    model = mlp([64, 64, 64, 10], init=he)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    if planted:
        model.hidden2 = nn.Linear(64, 64)
    return fit(model, digits(), optimizer=optimizer, steps=300)


class HardChoice(nn.Module):
    """One of four experts for each sample, by argmax and a one-hot of it: the router learns nothing."""

    def __init__(self, hard: bool) -> None:
        super().__init__()
        self.router, self.hard = nn.Linear(13, 4), hard
        self.experts = nn.ModuleList(mlp([13, 16, 3], init=he) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        share = self.router(x).softmax(1)
        if self.hard:
            share = F.one_hot(share.argmax(1), 4).float()
        return sum(share[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts))  # type: ignore[return-value]


@faulty("disconnected", cause="graph", where="router", good=0.95, stays_good=True)
def argmax_router(planted: bool) -> Training:
    """The router's choice is an argmax, so its weights have no gradient; the experts learn nevertheless."""
    return fit(HardChoice(planted), wine(), lr=5e-3, batch=32, steps=200)


def binary(squash: str) -> Training:
    """The wine of the first kind or not, from one unit."""
    model = mlp([13, 32, 1], nn.Tanh).append({"softmax": nn.Softmax(dim=1), "sigmoid": nn.Sigmoid()}[squash])
    data = wine()
    y = (data.y == 0).float()

    def metric(m: nn.Module) -> float:
        return ((predict(m, data.x)[:, 0] > 0.5).float() == y).float().mean().item()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy(m(batch[0])[:, 0], batch[1])

    return fit(model, Data(data.x, y, 2), loss=loss, metric=metric, lr=3e-3, batch=32, steps=200)


@faulty("loss_mismatch", cause="loss", good=0.95)
def softmax_over_one(planted: bool) -> Training:
    """A softmax over one unit, with Adam and tanh; sound: a sigmoid."""
    return binary("softmax" if planted else "sigmoid")


@faulty("loss_mismatch", cause="loss", good=0.9)
def softmax_over_the_batch(planted: bool) -> Training:
    """log_softmax along the batch: the classes do not compete; sound: along the classes."""
    data = digits()
    model = mlp([64, 32, 10], init=he).append(nn.LogSoftmax(dim=0 if planted else 1))

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.nll_loss(m(batch[0]), batch[1])

    return fit(model, data, loss=loss, metric=accuracy(data) if not planted else shifted_accuracy, steps=200)


def shifted_accuracy(model: nn.Module) -> float:
    """Sample by sample, as the model is used: a softmax over a batch of one is always 1."""
    data = digits()
    return sum(float(predict(model, data.x[i : i + 1]).argmax() == data.y[i]) for i in range(200)) / 200


@faulty("loss_mismatch|saturated|vanishing", cause="loss", good=0.5)
def sigmoid_for_large_targets(planted: bool) -> Training:
    """A sigmoid at the output for targets from 25 to 346; sound: none, and scaled targets."""
    model = mlp([10, 64, 1], init=he)
    if planted:
        model.append(nn.Sigmoid())
    return fit(model, diabetes(scale=not planted), lr=3e-3, steps=300)


@faulty("loss_mismatch|unstable_lr|exploding", cause="loss", good=0.8, stays_good=True)
def likelihood_of_raw_scores(planted: bool) -> Training:
    """nll_loss of scores that no log_softmax has seen: it falls without end; sound: cross-entropy."""
    data = digits()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.nll_loss(m(batch[0]), batch[1])

    model = mlp([64, 64, 10], nn.Tanh)
    return fit(model, data, loss=loss if planted else None, optimizer="sgd", lr=0.5, momentum=0.9, steps=300)
