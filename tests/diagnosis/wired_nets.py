"""Small trainings that hang together in unusual ways, and mean it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import wired_modules as nets
from torch import Tensor, nn
from wired_modules import chain

STEPS = 7


@dataclass
class Run:
    """A model with its own way to train; `step(number)` makes one whole step."""

    model: nn.Module
    step: Callable[[int], None]
    optimizer: Any = None


def data(number: int, size: int = 32) -> tuple[Tensor, Tensor]:
    toss = torch.Generator().manual_seed(number)
    x = torch.randn(size, 16, generator=toss)
    return x, (x[:, :8].sum(1) > 0).long() + 2 * (x[:, 8:].sum(1) > 0).long()


def plain(model: nn.Module, loss: Callable[..., Tensor] = F.cross_entropy, lr: float = 0.05, held: Any = None) -> Run:
    """The usual loop of an optimizer that holds everything, or `held`."""
    optimizer = torch.optim.SGD(model.parameters() if held is None else held, lr)

    def step(number: int) -> None:
        x, y = data(number)
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return Run(model, step, optimizer)


def gan(every: int) -> Run:
    model = nets.Gan()
    critic, maker = (torch.optim.Adam(m.parameters(), 1e-3) for m in (model.judge, model.make))

    def step(number: int) -> None:
        x, _ = data(number)
        critic.zero_grad()
        model(x, critic=True).backward()
        critic.step()
        if number % every == every - 1:
            maker.zero_grad()
            model(x, critic=False).backward()
            maker.step()

    return Run(model, step)


def zeroed(model: nn.Module, *names: str) -> nn.Module:
    for name in names:
        for p in model.get_submodule(name).parameters():
            nn.init.zeros_(p)
    return model


def alternating() -> Run:
    model = nn.ModuleDict({"body": chain(16, 32, 32), "a": nn.Linear(32, 4), "b": nn.Linear(32, 4)})

    class Tasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, x: Tensor, task: str) -> Tensor:
            return self.parts[task](torch.relu(self.parts["body"](x)))

    tasks = Tasks()
    optimizer = torch.optim.Adam(tasks.parameters(), 1e-3)

    def step(number: int) -> None:
        x, y = data(number)
        optimizer.zero_grad()
        F.cross_entropy(tasks(x, "ab"[number // 6 % 2]), y).backward()
        optimizer.step()

    return Run(tasks, step)


def warmed_up() -> Run:
    run = plain(zeroed(nets.Residual("fixup"), "head"), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda n: max(n - 3, 0) / 100)
    inner = run.step
    return Run(run.model, lambda number: (inner(number), schedule.step())[0], run.optimizer)


def distilled() -> Run:
    teacher = chain(16, 32, 4)

    def loss(output: Tensor, _y: Tensor) -> Tensor:
        with torch.no_grad():
            goal = teacher(data(0)[0]).div(2).softmax(1)
        return F.kl_div(F.log_softmax(output / 2, 1), goal, reduction="batchmean")

    return plain(chain(16, 32, 4), loss)


def similar(output: Tensor, _y: Tensor) -> Tensor:
    output = F.normalize(output, dim=1)
    return F.cross_entropy(output @ output.detach().t() / 0.1, torch.arange(len(output)))


def squared(low: float, high: float, factor: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        return factor * F.mse_loss(output, low + (high - low) * F.one_hot(y, 4).float())

    return loss


def binary(output: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(output.squeeze(1), (y > 1).float())


def policy(output: Tensor, y: Tensor) -> Tensor:
    return -torch.distributions.Categorical(probs=output.softmax(1)).log_prob(y).mean()


def lbfgs() -> Run:
    model = chain(16, 32, 4)
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=2)

    def step(number: int) -> None:
        x, y = data(number)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    return Run(model, step)


def fine_tuned() -> Run:
    model = chain(16, 32, 32, 4)
    return plain(model, held=model[-1].parameters())


def grown() -> Run:
    """A head with a thousand classes at 0, of which a batch has four."""
    return plain(zeroed(chain(16, 32, 1000), "2"))


def weighted() -> Run:
    model = chain(16, 32, 4)
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[2])
    return plain(model)


ON_PURPOSE: dict[str, Callable[[], Run]] = {
    "gan": lambda: gan(1),
    "gan_of_many_critic_steps": lambda: gan(6),
    "lora": lambda: plain(nets.Lora()),
    "gated_by_zero": lambda: plain(nets.Gated()),
    "experts": lambda: plain(nets.Experts()),
    "codebook": lambda: plain(nets.Codebook(), lambda loss, _: loss),
    "byol": lambda: plain(nets.Byol(moves=True), lambda loss, _: loss),
    "byol_before_its_target_moves": lambda: plain(nets.Byol(moves=False), lambda loss, _: loss),
    "sign_straight_through": lambda: plain(nets.Between(lambda _, h: nets.Sign.apply(h - 0.1))),
    "logging": lambda: plain(nets.Logging()),
    "frozen_in_evaluation": lambda: plain(nets.Frozen(evaluates=True)),
    "frozen_and_not_in_the_optimizer": lambda: plain(m := nets.Frozen(evaluates=False), held=m.head.parameters()),
    "words": lambda: plain(nets.Words(), lambda loss, _: loss),
    "fixup": lambda: plain(nets.Residual("fixup")),
    "rezero": lambda: plain(nets.Residual("rezero")),
    "norms_at_zero": lambda: plain(nets.Residual("norm")),
    "tasks_in_turn": alternating,
    "warm_up_of_zeros": warmed_up,
    "logistic_regression_from_zero": lambda: plain(zeroed(nn.Sequential(nn.Linear(16, 4)), "0")),
    "thousand_classes_from_zero": grown,
    "distillation": distilled,
    "similarities": lambda: plain(chain(16, 32, 8), similar),
    "policy": lambda: plain(chain(16, 32, 4), policy),
    "lbfgs": lbfgs,
    "head_only": fine_tuned,
    "parametrized": weighted,
    "sigmoid_for_targets_in_range": lambda: plain(
        nn.Sequential(chain(16, 32, 4), nn.Sigmoid()), squared(0, 1, 1e5), 1e-6
    ),
    "tanh_for_targets_in_range": lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Tanh()), squared(-1, 1, 1e-6)),
    "log_softmax_twice": lambda: plain(nn.Sequential(chain(16, 32, 4), nn.LogSoftmax(1))),
    "sigmoid_of_one": lambda: plain(nn.Sequential(zeroed(chain(16, 32, 1), "2"), nn.Sigmoid()), binary),
    "probabilities_as_scaled_logits": lambda: plain(
        nn.Sequential(chain(16, 32, 4), nn.Softmax(1)), lambda p, y: F.cross_entropy(20 * p, y)
    ),
    "equilibrium": lambda: plain(nets.Equilibrium()),
    "local_losses": lambda: plain(nets.Local()),
    "odd": lambda: plain(nets.Odd()),
    "positions": lambda: plain(nets.Positions()),
    "hinge": lambda: plain(chain(16, 32, 4), lambda out, y: F.multi_margin_loss(out, y)),
}
