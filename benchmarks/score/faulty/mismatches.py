"""Outputs and losses that do not fit, and numbers that leave the floats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, accuracy, cancer, diabetes, digits, fit, he, mlp, wine
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


@faulty("loss_mismatch", cause="loss", good=0.93)
def softmax_twice(planted: bool) -> Training:
    """Cross-entropy, which holds a softmax, of what went through one: the loss cannot fall below 1.46; sound: one."""
    model = mlp([64, 64, 64, 64, 10], nn.Tanh)
    if planted:
        model.append(nn.Softmax(dim=1))
    return fit(model, digits(), optimizer="sgd", lr=0.1, steps=500)


@faulty("loss_mismatch|unstable_lr|exploding", cause="loss", good=0.95, stays_good=True)
def targets_of_minus_one(planted: bool) -> Training:
    """Binary cross-entropy with targets of -1 and 1: it falls below zero without end; sound: 0 and 1."""
    data = cancer()
    low = -1.0 if planted else 0.0

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(m(b[0])[:, 0], torch.where(b[1] > 0, 1.0, low))

    def right(m: nn.Module) -> float:
        with torch.no_grad():
            return ((m(data.x)[:, 0] > 0) == (data.y > 0)).float().mean().item()

    return fit(mlp([30, 32, 1]), data, loss=loss, metric=right, optimizer="sgd", lr=0.3, momentum=0.9, steps=400)


@faulty("loss_mismatch|saturated", cause="loss|activation", good=0.3)
def bounded_output(planted: bool) -> Training:
    """A tanh at the output for targets from -20 to 60; sound: none."""
    data = diabetes()
    model = mlp([10, 64, 1], init=he)
    if planted:
        model.append(nn.Tanh())
    return fit(model, data._replace(y=data.y * 15 + 20), lr=1e-2, steps=800)


@faulty("nonfinite", cause="graph", good=0.85)
def distance_to_itself(planted: bool) -> Training:
    """Distances within a batch, a sample's to itself among them: the root's slope at 0; sound: + 1e-6 below it."""
    data = digits()

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        z = m(b[0])
        square = (z[:, None] - z[None]).square().sum(-1)
        apart = square.sqrt() if planted else (square + 1e-6).sqrt()
        same = (b[1][:, None] == b[1][None]).float()
        return (same * apart + (1 - same) * F.relu(3 - apart)).mean()

    def near(m: nn.Module) -> float:
        with torch.no_grad():
            z = m(data.x[:800])
        closest = (torch.cdist(z, z) + 1e9 * torch.eye(800)).argmin(1)
        return (data.y[closest] == data.y[:800]).float().mean().item()

    return fit(mlp([64, 96, 16], init=he), data, loss=loss, metric=near, lr=1e-3, steps=200)


@faulty("nonfinite", cause="input_scale", good=0.9)
def half_overflow(planted: bool) -> Training:
    """Raw measures up to 4,254 in float16, squared on the way: more than 65,504; sound: scaled, in float32."""
    data = cancer(scale=not planted)

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp([60, 32, 2])

        def forward(self, x: Tensor) -> Tensor:
            return self.body(torch.cat([x, x * x], 1))

    model = Squares()
    if planted:
        model, data = model.half(), data._replace(x=data.x.half())

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(m(b[0]).float(), b[1])

    return fit(model, data, loss=loss, optimizer="sgd", lr=0.01, momentum=0.9, steps=200)


@faulty("nonfinite", cause="graph|loss", good=0.9)
def angle_of_the_same(planted: bool) -> Training:
    """The angle to a class's centre by acos of a cosine that reaches 1, where its slope is infinite; sound: clamped."""
    centres = torch.eye(13)[:3]
    data = wine()
    x = data.x.clone()
    x[::20] = 3 * centres[data.y[::20]]  # rows that lie on their centre

    class Angles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Linear(13, 13, bias=False)
            nn.init.eye_(self.turn.weight)
            self.out = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            cosine = F.normalize(self.turn(x), dim=1) @ centres.T
            return self.out(torch.acos(cosine.clamp(-1, 1) if planted else 0.999 * cosine))

    return fit(Angles(), data._replace(x=x), lr=0.02, batch=32, steps=300)


@faulty("dead", cause="weights", where="waist", good=0.85)
def dead_waist(planted: bool) -> Training:
    """All goes through eight ReLU units whose biases start at -30; sound: at 0.5."""
    model = nn.Sequential()
    model.add_module("wide", nn.Linear(64, 96))
    model.add_module("act", nn.GELU())
    model.add_module("waist", nn.Linear(96, 8))
    model.add_module("act_waist", nn.ReLU())
    model.add_module("out", nn.Linear(8, 10))
    nn.init.constant_(model.get_parameter("waist.bias"), -30.0 if planted else 0.5)
    data = Data(digits().x, digits().y, 10)
    return fit(model, data, metric=accuracy(data), lr=3e-3, steps=300)
