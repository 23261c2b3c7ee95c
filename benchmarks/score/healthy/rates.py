"""Optimizers and learning rates that look mad and work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.score.data import Skip, cross_entropy, diabetes, digits, fit, he, images, mlp, moons
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


def scheduled(training: Training, factor: Callable[[int], float]) -> Training:
    scheduler = torch.optim.lr_scheduler.LambdaLR(training.optimizer, factor)
    training.after = lambda _step: scheduler.step()
    return training


@healthy(good=0.95)
def warm_up_from_zero() -> Training:
    """The first step has a rate of exactly 0, a third of the run is warm-up."""
    return scheduled(fit(mlp([64, 64, 64, 10], init=he), digits(), lr=3e-3), lambda k: min(k / 100, 1.0))


@healthy(good=0.95)
def cosine_to_zero() -> Training:
    """The rate is all but 0 for the last steps."""
    training = fit(mlp([64, 64, 64, 10], init=he), digits(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 300)
    training.after = lambda _step: scheduler.step()
    return training


@healthy(good=0.95)
def one_cycle() -> Training:
    """Up to a rate that would not do at the start, and down (Smith 2018)."""
    training = fit(mlp([64, 64, 64, 10], norm=nn.BatchNorm1d), digits(), optimizer="sgd", lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, max_lr=1.0, total_steps=301)
    training.after = lambda _step: scheduler.step()
    return training


@healthy(good=0.95)
def fine_tuning() -> Training:
    """A trained network, new pixels, all layers at 1e-5 with AdamW: it moves little, and that is the plan."""
    model = mlp([64, 128, 128, 10], init=he)
    fit(model, digits(), steps=300).train()
    data = digits()
    noisy = data._replace(x=data.x + 0.3 * torch.randn_like(data.x))
    return fit(model, noisy, optimizer="adamw", lr=1e-5, steps=200)


@healthy(good=0.9)
def scale_invariant() -> Training:
    """BatchNorm after every layer, and a rate of 2: the weights grow, and the rate with them shrinks."""
    stem = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    more = [nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*stem, *more, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    return fit(model, images(), optimizer="sgd", lr=2.0, steps=250)


@healthy(good=0.95)
def huge_rate_tiny_loss() -> Training:
    """A loss times 1e-4 with SGD at 1,000: the same training as 0.1."""
    model = mlp([64, 64, 64, 10], init=he)
    return fit(model, digits(), optimizer="sgd", lr=1e3, loss=lambda m, b: 1e-4 * cross_entropy(m, b))


@healthy(good=0.95)
def catapult() -> Training:
    """SGD just above the edge: the loss first rises, then falls (Lewkowycz et al. 2020)."""
    return fit(mlp([64, 128, 128, 10], init=he), digits(), optimizer="sgd", lr=0.8, steps=300)


@healthy(good=0.95)
def much_momentum() -> Training:
    """Momentum 0.99: the loss swings."""
    model = mlp([64, 64, 64, 10], init=he)
    return fit(model, digits(), optimizer="sgd", lr=0.003, momentum=0.99, nesterov=True, steps=400)


@healthy(good=0.95)
def much_decay() -> Training:
    """AdamW with a weight decay of 1: the weights shrink all the time."""
    return fit(mlp([64, 128, 10], init=he), digits(), optimizer="adamw", lr=3e-3, weight_decay=1.0, steps=400)


@healthy(good=0.95)
def adagrad() -> Training:
    """Rates that only ever fall."""
    return fit(mlp([64, 64, 10], init=he), digits(), optimizer="adagrad", lr=0.03, steps=300)


@healthy(good=0.9)
def quasi_newton() -> Training:
    """L-BFGS on the whole data: up to ten forward and backward passes a step."""
    data, model = moons(), mlp([2, 32, 32, 2], nn.Tanh)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")

    def step(batch: tuple[Tensor, Tensor]) -> float:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model, batch)
            loss.backward()
            return loss

        return optimizer.step(closure).item()  # type: ignore[no-any-return]

    return fit(model, data, optimizer=optimizer, loop=step, batch=1000, steps=40)


@healthy(good=0.9)
def resilient() -> Training:
    """Rprop on the whole data: only the signs of the gradient count."""
    model = mlp([2, 32, 32, 2], nn.Tanh)
    return fit(model, moons(), optimizer=torch.optim.Rprop(model.parameters(), 1e-3), batch=1000, steps=150)


class Lion(torch.optim.Optimizer):
    """The sign of an average gradient (Chen et al. 2023)."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("average", torch.zeros_like(p))
                    p.sub_(group["lr"] * (0.9 * average + 0.1 * p.grad).sign())
                    average.lerp_(p.grad, 0.01)


@healthy(good=0.9)
def lion() -> Training:
    """An optimizer of the user's own, whose every update has one size."""
    model = mlp([64, 64, 64, 10], init=he)
    return fit(model, digits(), optimizer=Lion(model.parameters(), 3e-4))


@healthy(good=0.95)
def sharpness_aware() -> Training:
    """Two passes a step: the weights go uphill and back before the second (Foret et al. 2020)."""
    model = mlp([64, 64, 64, 10], init=he)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: tuple[Tensor, Tensor]) -> float:
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        with torch.no_grad():
            uphill = [0.05 * p.grad / (p.grad.norm() + 1e-12) for p in model.parameters() if p.grad is not None]
            for p, e in zip(model.parameters(), uphill, strict=True):
                p.add_(e)
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        with torch.no_grad():
            for p, e in zip(model.parameters(), uphill, strict=True):
                p.sub_(e)
        optimizer.step()
        return loss.item()

    return fit(model, digits(), optimizer=optimizer, loop=step)


@healthy(good=0.9)
def averaged_weights() -> Training:
    """A running average of the weights is what counts in the end."""
    model = mlp([64, 64, 10], init=he)
    average = copy.deepcopy(model)

    def follow(_step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.05)

    training = fit(model, digits(), lr=3e-3, after=follow)
    measure = training.metric
    training.metric = lambda _model: measure(average)
    return training


@healthy(good=0.95)
def always_clipped() -> Training:
    """The norm is clipped to 0.01 at every step, with a rate to match."""
    return fit(mlp([64, 64, 64, 10], init=he), digits(), optimizer="sgd", lr=10.0, clip=0.01, steps=400)


@healthy(good=0.3)
def heavy_tailed_targets() -> Training:
    """A few targets a hundred times off: now and then the loss is a thousand times as large."""
    data = diabetes()
    far = torch.rand(len(data.y)) < 0.02
    model = mlp([10, 64, 1], init=he)
    bad = data._replace(y=torch.where(far, data.y * 100, data.y))
    return fit(model, bad, lr=1e-3, steps=400, clip=1.0, loss=robust, metric=fit(model, data).metric)


def robust(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.huber_loss(model(batch[0])[:, 0], batch[1])


@healthy(good=0.95)
def small_residuals_fast() -> Training:
    """Residual branches scaled by 0.1 and a rate of 0.5."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))

        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * self.body(x)

    blocks = [Scaled() for _ in range(12)]
    model = nn.Sequential(nn.Linear(64, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, 10))
    return fit(model, digits(), optimizer="sgd", lr=0.5, steps=200)


@healthy(good=0.95)
def centred_rms() -> Training:
    """Centred RMSprop with momentum on residual blocks."""
    blocks = [Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.SiLU()) for _ in range(4)]
    model = nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10))
    return fit(model, digits(), optimizer="rmsprop", lr=3e-4, momentum=0.9, centered=True)
