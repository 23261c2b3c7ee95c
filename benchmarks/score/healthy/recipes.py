"""Recipes around the gradient: what is done to it, to the weights and to the data between two steps."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, Skip, accuracy, cross_entropy, digits, fit, he, images, mlp, moons, predict
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


class Orthogonalised(torch.optim.Optimizer):
    """Muon: the momentum of a matrix, its singular values set near 1 by five Newton-Schulz steps (Jordan 2024)."""

    def __init__(self, params: Any, lr: float = 0.02) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                kept = self.state[p].setdefault("momentum", torch.zeros_like(p))
                kept.mul_(0.95).add_(p.grad)
                x = kept / (kept.norm() + 1e-7)
                if p.dim() == 2:
                    x = x.T if p.shape[0] > p.shape[1] else x
                    for _ in range(5):
                        square = x @ x.T
                        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
                    x = x.T if p.shape[0] > p.shape[1] else x
                p.add_(x, alpha=-group["lr"])


@healthy(good=0.95)
def orthogonal_updates() -> Training:
    """Muon on all matrices: every update is as large in its small directions as in its large ones."""
    model = mlp([64, 128, 128, 10], init=he)
    return fit(model, digits(), optimizer=Orthogonalised(model.parameters(), 0.02), steps=200)


@healthy(good=0.95)
def long_plateau() -> Training:
    """Addition modulo 23 with much weight decay: learnt by heart at once, understood late (Power et al. 2022)."""
    pairs = torch.cartesian_prod(torch.arange(23), torch.arange(23))
    y = pairs.sum(1) % 23
    known = torch.randperm(len(y))[: len(y) // 2]

    class Adder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body = nn.Embedding(23, 48), mlp([96, 128, 23])

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.embed(x).flatten(1))

    data = Data(pairs[known], y[known], 23)
    return fit(Adder(), data, optimizer="adamw", lr=3e-3, weight_decay=1.0, batch=256, steps=700)


@healthy(good=0.85)
def private() -> Training:
    """DP-SGD: the gradient of each sample clipped, noise added, the sum handed to the optimizer (Abadi et al. 2016)."""
    model = mlp([64, 64, 10], nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.5)
    names = [n for n, _ in model.named_parameters()]

    def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, weights, (x[None],)), y[None])

    each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        weights = {n: p.detach() for n, p in model.named_parameters()}
        grads = each(weights, *batch)
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()]).norm(dim=0)
        shares = (1 / norms).clamp(max=1)
        for n, p in zip(names, model.parameters(), strict=True):
            whole = torch.einsum("i...,i->...", grads[n], shares) + 0.8 * torch.randn_like(p)
            p.grad = whole / len(batch[0])
        optimizer.step()
        return cross_entropy(model, batch).item()

    return fit(model, digits(), optimizer=optimizer, loop=step, metric=accuracy(digits()), batch=128, steps=200)


@healthy(good=0.9)
def federated() -> Training:
    """Four sites with different digits train a copy for ten steps each; then the average is loaded (FedAvg)."""
    data, model = digits(), mlp([64, 96, 10], init=he)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parts = [data.y % 5 != k for k in range(4)]
    start, ends = copy.deepcopy(model.state_dict()), list[dict[str, Tensor]]()
    count = iter(range(10**6))

    def step(_batch: Any) -> float:
        nonlocal start
        k = next(count)
        mine = parts[k // 10 % 4].nonzero()[:, 0]
        rows = mine[torch.randint(0, len(mine), (64,))]
        loss = cross_entropy(model, (data.x[rows], data.y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if k % 10 == 9:
            ends.append(copy.deepcopy(model.state_dict()))
            if len(ends) == 4:
                start = {n: torch.stack([e[n] for e in ends]).mean(0) for n in start}
                ends.clear()
            model.load_state_dict(start)
        return loss.item()

    return fit(model, data, optimizer=optimizer, loop=step, metric=accuracy(data), steps=400)


@healthy(good=0.95)
def looks_ahead() -> Training:
    """Every five steps the weights go half of the way back to where they were (Zhang et al. 2019)."""
    model = mlp([64, 128, 128, 10], init=he)
    slow = [p.detach().clone() for p in model.parameters()]

    def back(step: int) -> None:
        if step % 5 == 4:
            with torch.no_grad():
                for s, p in zip(slow, model.parameters(), strict=True):
                    s.lerp_(p, 0.5)
                    p.copy_(s)

    return fit(model, digits(), optimizer="sgd", lr=0.2, after=back, steps=300)


@healthy(good=0.93)
def pruned_half_way() -> Training:
    """At half of the run nine of ten weights go to zero and stay there: the loss leaps and falls again."""
    model = mlp([64, 256, 256, 10], init=he)
    masks: dict[nn.Parameter, Tensor] = {}

    def prune(step: int) -> None:
        with torch.no_grad():
            if step == 150:
                for p in (p for p in model.parameters() if p.dim() > 1):
                    masks[p] = (p.abs() > p.abs().flatten().quantile(0.9)).float()
            for p, mask in masks.items():
                p.mul_(mask)

    return fit(model, digits(), after=prune, lr=2e-3, steps=400)


class TwoTasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = mlp([64, 96, 96], init=he)
        self.heads, self.spread = nn.ModuleList([nn.Linear(96, 10), nn.Linear(96, 1)]), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        h = torch.relu(self.trunk(x))
        return (self.heads[0](h), self.heads[1](h)) if self.training else self.heads[0](h)


@healthy(good=0.95)
def silent_task() -> Training:
    """Two losses weighed by what is learnt (Kendall et al. 2018); the second has a constant target and is soon done."""

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        classes, constant = m(b[0])
        parts = torch.stack([F.cross_entropy(classes, b[1]), (constant - 1).square().mean()])
        spread = m.get_parameter("spread").clamp(min=-6)
        return ((-spread).exp() * parts + spread).sum()

    return fit(TwoTasks(), digits(), loss=loss, metric=accuracy(digits()), lr=2e-3, steps=300)


@healthy(good=0.95)
def projected_gradients() -> Training:
    """Two tasks, each with a backward pass of its own, their gradients made not to oppose each other (PCGrad)."""
    model = TwoTasks()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    shared = list(model.trunk.parameters())

    def step(batch: tuple[Tensor, Tensor]) -> float:
        classes, number = model(batch[0])
        losses = [F.cross_entropy(classes, batch[1]), F.mse_loss(number[:, 0], batch[1] / 9.0)]
        optimizer.zero_grad()
        sides = []
        for loss in losses:
            loss.backward(retain_graph=True)
            sides.append(torch.cat([p.grad.flatten() for p in shared if p.grad is not None]))
            for p in shared:
                p.grad = None
        dot = sides[0] @ sides[1]
        if dot < 0:
            sides = [a - dot / (b @ b) * b for a, b in (sides, sides[::-1])]
        for p, g in zip(shared, (sides[0] + sides[1]).split([p.numel() for p in shared]), strict=True):
            p.grad = g.view_as(p)
        optimizer.step()
        return float(sum(losses))

    return fit(model, digits(), optimizer=optimizer, loop=step, metric=accuracy(digits()), steps=300)


@healthy(good=0.9)
def langevin() -> Training:
    """SGLD: after each step noise is added to the weights, larger than the step itself (Welling and Teh 2011)."""
    model = mlp([64, 64, 10], nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def shake(_step: int) -> None:
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p), alpha=0.01)

    return fit(model, digits(), optimizer=optimizer, after=shake, steps=400)


@healthy(good=0.95)
def optimizer_swapped() -> Training:
    """Adam for a third of the run, then SGD from a new object: the one that was watched steps no more."""
    model = mlp([64, 128, 10], init=he)
    first = torch.optim.Adam(model.parameters(), 2e-3)
    second = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    count = iter(range(10**6))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        now = first if next(count) < 100 else second
        loss = cross_entropy(model, batch)
        now.zero_grad()
        loss.backward()
        now.step()
        return loss.item()

    return fit(model, digits(), optimizer=first, loop=step, metric=accuracy(digits()), steps=300)


@healthy(good=0.75)
def mean_teacher() -> Training:
    """Two hundred labels and a slow copy that names the rest; its loss comes in slowly (Tarvainen and Valpola 2017)."""
    data, model = digits(), mlp([64, 128, 128, 10], init=he)
    slow, steps = copy.deepcopy(model).requires_grad_(False), iter(range(10**6))
    few = torch.cat([(data.y == c).nonzero()[:20, 0] for c in range(10)])

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            wanted = slow(b[0]).softmax(1)
        known = F.cross_entropy(m(data.x[few] + 0.3 * torch.randn(len(few), 64)), data.y[few])
        said = m(b[0] + 0.3 * torch.randn_like(b[0])).softmax(1)
        return known + min(1.0, next(steps) / 150) * 10 * F.mse_loss(said, wanted)

    def follow(_step: int) -> None:
        with torch.no_grad():
            for s, p in zip(slow.parameters(), model.parameters(), strict=True):
                s.lerp_(p, 0.05)

    return fit(model, data, loss=loss, metric=accuracy(data), after=follow, lr=2e-3, steps=300)


@healthy(good=0.9)
def coming_and_going() -> Training:
    """Domain randomisation: each batch has its own contrast, from 0.1 to 10, and BatchNorm takes it away."""
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    model = nn.Sequential(
        *conv, nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )
    training = fit(model, images(), lr=5e-3, steps=200)
    training.batches = [(x * 10 ** (2 * torch.rand(()) - 1), y) for x, y in training.batches]

    def metric(m: nn.Module) -> float:
        with torch.no_grad():  # each batch by its own statistics, as in the training
            return (m(images().x).argmax(1) == images().y).float().mean().item()

    training.metric = metric
    return training


@healthy(good=0.95)
def double_precision() -> Training:
    """float64 throughout, with residual blocks."""
    data = digits()
    blocks = [Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64)) for _ in range(4)]
    model = nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10)).double()
    return fit(model, data._replace(x=data.x.double()), steps=200)


@healthy(good=0.9)
def few_rows_in_turn() -> Training:
    """The same two hundred points, sorted by class: each batch is of one class only."""
    data = moons()
    order = data.y.argsort()
    training = fit(mlp([2, 64, 2], nn.Tanh), data, optimizer="sgd", lr=0.05, momentum=0.9, batch=50, steps=600)
    rows = order.view(20, 50)[torch.arange(20).view(2, 10).T.flatten()]
    training.batches = [(data.x[rows[k % 20]], data.y[rows[k % 20]]) for k in range(600)]
    right = lambda m: (predict(m, data.x).argmax(1) == data.y).float().mean().item()  # noqa: E731
    training.metric = right
    return training
