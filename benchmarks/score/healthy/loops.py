"""Loops of the user's own: several optimizers, several passes a step, number formats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import (
    Data,
    Skip,
    accuracy,
    circles,
    cross_entropy,
    diabetes,
    digits,
    fit,
    he,
    mlp,
    moons,
    r_squared,
    shuffled,
)
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


@healthy(good=0.95)
def evaluated_in_between() -> Training:
    """After every fifth step the whole data goes through the model, once in training mode and with gradients."""
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    measure = accuracy(digits())

    def look(step: int) -> None:
        if step % 5 == 0:
            measure(model)
        if step == 20:
            model(digits().x[:100]).sum()

    return fit(model, digits(), after=look, lr=3e-3)


@healthy(good=0.95)
def accumulated() -> Training:
    """Eight backward passes a step."""
    return fit(mlp([64, 64, 64, 10], init=he), digits(), batch=16, accumulate=8, lr=3e-3, steps=150)


@healthy(good=0.95)
def bfloat16_autocast() -> Training:
    """Matrix products in bfloat16."""
    return fit(mlp([64, 128, 128, 10], init=he), digits(), autocast=torch.bfloat16)


@healthy(good=0.9)
def bfloat16_weights() -> Training:
    """Everything in bfloat16, with a rate that its eight bits can use."""
    data = digits()
    model = mlp([64, 128, 128, 10], init=he).bfloat16()
    data = data._replace(x=data.x.bfloat16())
    return fit(model, data, optimizer="sgd", lr=0.1, steps=300)


@healthy(good=0.95)
def float16_with_scaler() -> Training:
    """float16 with a loss scale that overflows in the first steps, which are skipped."""
    model = mlp([64, 64, 64, 10], init=he)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)

    def step(batch: tuple[Tensor, Tensor]) -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = cross_entropy(model, batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return fit(model, digits(), optimizer=optimizer, loop=step)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(64, 64), nn.Linear(64, 10)
        self.blocks = nn.ModuleList(Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU()) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inp(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return self.out(x)


@healthy(good=0.95)
def checkpointed() -> Training:
    """The forward pass of each block is run again in the backward pass."""
    return fit(Checkpointed(), digits(), steps=200)


@healthy(good=0.95)
def new_task() -> Training:
    """After half of the run the pixels are turned around: the loss jumps and falls again."""
    data = digits()
    other = data._replace(x=data.x.flip(1))
    training = fit(mlp([64, 64, 64, 10], init=he), data, steps=200)
    training.batches = training.batches + shuffled(other, 64, 300)
    training.metric = accuracy(other)
    return training


@healthy(good=0.75)
def meta_learning() -> Training:
    """MAML: a step inside of the step, through which the gradient goes; the moons are turned anew each time."""
    data, model = moons(), mlp([2, 32, 32, 2], nn.Tanh)
    names = [n for n, _ in model.named_parameters()]

    def adapted(x: Tensor, y: Tensor, graph: bool) -> dict[str, Tensor]:
        fast: dict[str, Tensor] = {n: p for n, p in model.named_parameters()}  # noqa: C416
        for _ in range(2):
            loss = F.cross_entropy(functional_call(model, fast, (x,)), y)
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=graph)
            fast = {n: p - 0.5 * g for n, p, g in zip(names, fast.values(), slopes, strict=True)}
        return fast

    def turned(x: Tensor) -> Tensor:
        angle = 3.14 * torch.rand(())
        c, s = angle.cos(), angle.sin()
        return x @ torch.stack([torch.stack([c, -s]), torch.stack([s, c])])

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = turned(batch[0]), batch[1]
        return F.cross_entropy(functional_call(m, adapted(x[:32], y[:32], True), (x[32:],)), y[32:])

    def metric(m: nn.Module) -> float:
        right = []
        for _ in range(10):
            x = turned(data.x)
            fast = adapted(x[:32], data.y[:32], False)
            with torch.no_grad():
                right.append((functional_call(m, fast, (x,)).argmax(1) == data.y).float().mean().item())
        return sum(right) / len(right)

    return fit(model, data, loss=loss, metric=metric, lr=3e-3, steps=200)


@healthy(good=0.95)
def physics_informed() -> Training:
    """y' = -3y, y(0) = 1: the loss holds the derivative of the network by its input."""
    model = mlp([1, 32, 32, 1], nn.Tanh)
    x = torch.linspace(0, 1, 200)[:, None]
    truth = Data(x, torch.exp(-3 * x[:, 0]), 1)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        points = batch[0].clone().requires_grad_()
        y = m(points)
        (slope,) = torch.autograd.grad(y.sum(), points, create_graph=True)
        return (slope + 3 * y).square().mean() + (m(torch.zeros(1, 1)) - 1).square().mean()

    return fit(model, truth, loss=loss, metric=r_squared(truth), lr=5e-3, steps=600)


@healthy(good=0.9)
def two_models_in_turn() -> Training:
    """Alternating steps: features with one optimizer, head with another, each frozen while the other learns."""
    body, head = mlp([2, 32, 16], nn.Tanh), nn.Linear(16, 2)
    model = nn.Sequential(body, nn.Tanh(), head)
    both = [torch.optim.Adam(body.parameters(), 1e-2), torch.optim.Adam(head.parameters(), 1e-2)]
    turn = iter(range(10**6))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        which = next(turn) % 2
        body.requires_grad_(which == 0)
        head.requires_grad_(which == 1)
        both[which].zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        both[which].step()
        return loss.item()

    return fit(model, circles(), optimizer=both[0], loop=step, one_optimizer=False, steps=300)


@healthy(good=0.3)
def gradient_reversal() -> Training:
    """A domain head behind a layer that turns the gradient around (Ganin et al. 2015)."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
            return x.clone()

        @staticmethod
        def backward(_ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
            return -0.1 * g

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out, self.domain = mlp([10, 64, 32], init=he), nn.Linear(32, 1), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            h = torch.relu(self.body(x))
            return (self.out(h), self.domain(Reverse.apply(h))) if self.training else self.out(h)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out, domain = m(batch[0])
        return F.mse_loss(out[:, 0], batch[1]) + F.cross_entropy(domain, (batch[0][:, 1] > 0).long())

    return fit(Model(), diabetes(), loss=loss, steps=300)
