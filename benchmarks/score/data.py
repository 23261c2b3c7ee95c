"""Real data that ships inside packages, and the parts that most of the models here are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pydoc_data import topics
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.score.training import Training
from sklearn import datasets
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Data(NamedTuple):
    x: Tensor
    y: Tensor
    outputs: int
    """The number of classes, or 1 for a regression."""


def _scaled(x: np.ndarray) -> Tensor:
    # A few pixels never change: the small number keeps them at zero.
    return torch.tensor((x - x.mean(0)) / (x.std(0) + 1e-3), dtype=torch.float32)


def _classes(bunch: Any, scale: bool) -> Data:
    x = _scaled(bunch.data) if scale else torch.tensor(bunch.data, dtype=torch.float32)
    return Data(x, torch.tensor(bunch.target), int(bunch.target.max()) + 1)


@cache
def digits(scale: bool = True) -> Data:
    """1,797 images of 8 × 8 pixels from 0 to 16."""
    return _classes(datasets.load_digits(), scale)


@cache
def images() -> Data:
    """The digits as (1, 8, 8)."""
    data = digits()
    return data._replace(x=data.x.view(-1, 1, 8, 8))


@cache
def cancer(scale: bool = True) -> Data:
    """569 rows of 30 measures from 0.001 to 4,254."""
    return _classes(datasets.load_breast_cancer(), scale)


@cache
def wine(scale: bool = True) -> Data:
    """178 rows of 13 measures up to 1,680."""
    return _classes(datasets.load_wine(), scale)


@cache
def diabetes(scale: bool = True) -> Data:
    """442 rows of 10 measures; targets from 25 to 346."""
    bunch: Any = datasets.load_diabetes()
    y = torch.tensor(bunch.target, dtype=torch.float32)
    return Data(_scaled(bunch.data), (y - y.mean()) / y.std() if scale else y, 1)


@cache
def moons() -> Data:
    x, y = datasets.make_moons(1000, noise=0.1, random_state=0)
    return Data(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 2)


@cache
def circles() -> Data:
    x, y = datasets.make_circles(1000, noise=0.05, factor=0.5, random_state=0)
    return Data(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 2)


LETTERS = 64


@cache
def text(length: int = 32) -> Data:
    """Python's own help as windows of characters and of the characters that follow; rare ones are one."""
    whole = "".join(topics.topics.values())[:200_000]
    common = sorted(set(whole), key=lambda c: -whole.count(c))[: LETTERS - 1]
    number = {c: i for i, c in enumerate(common)}
    codes = torch.tensor([number.get(c, LETTERS - 1) for c in whole])
    rows = codes[: len(codes) // (length + 1) * (length + 1)].view(-1, length + 1)
    return Data(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), LETTERS)


def shuffled(data: Data, batch: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    """Whole batches, each epoch in a new order."""
    found: list[tuple[Tensor, Tensor]] = []
    while len(found) < steps:
        order = torch.randperm(len(data.x))
        found += [(data.x[i], data.y[i]) for i in order.split(batch) if len(i) == min(batch, len(data.x))]
    return found[:steps]


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def mean_square(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]).squeeze(-1), batch[1])


def next_letter(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def predict(model: nn.Module, x: Tensor) -> Tensor:
    training = model.training
    model.eval()
    with torch.no_grad():
        out = model(x)
    model.train(training)
    return out


def accuracy(data: Data, limit: int = 1000) -> Callable[[nn.Module], float]:
    x, y = data.x[:limit], data.y[:limit]
    return lambda model: (predict(model, x).argmax(-1) == y).float().mean().item()


def r_squared(data: Data) -> Callable[[nn.Module], float]:
    def metric(model: nn.Module) -> float:
        error = F.mse_loss(predict(model, data.x).squeeze(-1), data.y) / data.y.var(unbiased=False)
        return max(-1.0, 1 - error.item()) if error.isfinite() else -1.0

    return metric


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
}


def fit(
    model: nn.Module,
    data: Data,
    *,
    optimizer: str | torch.optim.Optimizer = "adam",
    lr: float = 1e-3,
    steps: int = 300,
    batch: int = 64,
    loss: Callable[[Any, Any], Tensor] | None = None,
    metric: Callable[[nn.Module], float] | None = None,
    accumulate: int = 1,
    **more: Any,
) -> Training:
    """An ordinary training; `more` are fields of `Training`, or what the optimizer takes."""
    fields = {k: more.pop(k) for k in tuple(more) if k in Training.__dataclass_fields__}
    if isinstance(optimizer, str):
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = OPTIMIZERS[optimizer](trained, lr=lr, **more)
    return Training(
        model,
        optimizer,
        loss or (mean_square if data.outputs == 1 else cross_entropy),
        shuffled(data, batch, steps * accumulate),
        metric or (r_squared if data.outputs == 1 else accuracy)(data),
        accumulate=accumulate,
        **fields,
    )


def mlp(
    sizes: list[int],
    act: Callable[[], nn.Module] = nn.ReLU,
    *,
    norm: Callable[[int], nn.Module] | None = None,
    init: Callable[[Tensor], Any] | None = None,
    bias: float | None = None,
) -> nn.Sequential:
    """hidden1, act1, …, out; `init` draws the weights, with biases of `bias` or zero."""
    model = nn.Sequential()
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes[:-1]), 1):
        model.add_module(f"hidden{i}", nn.Linear(fan_in, fan_out))
        if norm:
            model.add_module(f"norm{i}", norm(fan_out))
        model.add_module(f"act{i}", act())
    model.add_module("out", nn.Linear(sizes[-2], sizes[-1]))
    return drawn(model, init, bias) if init else model


def drawn(model: M, init: Callable[[Tensor], Any], bias: float | None = None) -> M:
    """Draws the weights of every linear and convolutional layer."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            init(layer.weight)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, bias or 0.0)
    return model


def he(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def gain(value: float) -> Callable[[Tensor], Any]:
    """Weights of N(0, value² / fan_in)."""
    return lambda w: nn.init.normal_(w, 0, value / w[0].numel() ** 0.5)


class Skip(nn.Module):
    """x + body(x)"""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
