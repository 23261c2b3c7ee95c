"""Small trainings that hang together in unusual ways, and mean it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


# ---------------------------------------------------------------- on purpose


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


def gan(every: int) -> Run:
    model = Gan()
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


def zeroed(model: nn.Module, *names: str) -> nn.Module:
    for name in names:
        for p in model.get_submodule(name).parameters():
            nn.init.zeros_(p)
    return model


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
    run = plain(zeroed(Residual("fixup"), "head"), lr=0.1)
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
    "lora": lambda: plain(Lora()),
    "gated_by_zero": lambda: plain(Gated()),
    "experts": lambda: plain(Experts()),
    "codebook": lambda: plain(Codebook(), lambda loss, _: loss),
    "byol": lambda: plain(Byol(moves=True), lambda loss, _: loss),
    "byol_before_its_target_moves": lambda: plain(Byol(moves=False), lambda loss, _: loss),
    "sign_straight_through": lambda: plain(Between(lambda _, h: Sign.apply(h - 0.1))),
    "logging": lambda: plain(Logging()),
    "frozen_in_evaluation": lambda: plain(Frozen(evaluates=True)),
    "frozen_and_not_in_the_optimizer": lambda: plain(m := Frozen(evaluates=False), held=m.head.parameters()),
    "words": lambda: plain(Words(), lambda loss, _: loss),
    "fixup": lambda: plain(Residual("fixup")),
    "rezero": lambda: plain(Residual("rezero")),
    "norms_at_zero": lambda: plain(Residual("norm")),
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
    "hinge": lambda: plain(chain(16, 32, 4), lambda out, y: F.multi_margin_loss(out, y)),
}
