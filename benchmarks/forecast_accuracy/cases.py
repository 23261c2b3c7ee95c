"""The cases of the table: networks with their inputs, and how many seeds of each are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from benchmarks.forecast_accuracy import networks as n
from benchmarks.forecast_accuracy.whole import WHOLE
from torch import Tensor, nn

DEPTH = 50
BATCH = 16
SMOOTH = ("tanh", "gelu", "silu", "softplus")
USUAL = {
    "sigmoid": "xavier",
    "tanh": "xavier",
    "softplus": "xavier",
    "selu": "xavier",  # of a square layer it is LeCun's, which SELU is made for
    "relu": "he",
    "gelu": "he",
    "silu": "he",
    "elu": "he",
    "mish": "he",
}
"""What each activation is commonly initialised with, beside torch's default and the matched weights."""


class Built(NamedTuple):
    """One seed of a case."""

    model: nn.Module
    given: Tensor
    target: Tensor | None
    seed: int

    def loss(self, out: Tensor) -> Tensor:
        if self.target is not None:
            return F.cross_entropy(out, self.target)
        toss = torch.Generator().manual_seed(self.seed)
        return (out * torch.randn(out.shape, generator=toss, dtype=out.dtype)).sum()


@dataclass(frozen=True)
class Case:
    row: str
    """A key of `rows.ROWS`."""
    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor | None]]
    """The input, and the classes for a cross-entropy; without them the loss is the sum of the outputs, each times a
    standard normal number."""
    seeds: int
    layers: int = 1
    """Over which the end-to-end ratio is shared to get the factor per layer."""
    ledger: bool = False
    """Measured by `ut.examine` in float32, not by the witness in float64."""

    @property
    def key(self) -> str:
        return f"{self.row}/{self.name}"

    def build(self, seed: int) -> Built:
        """The same seed gives the same numbers; drawn in float32, as users draw them."""
        torch.manual_seed(seed)
        model, (given, target) = self.make(), self.batch()
        if not self.ledger:
            model, given = model.double(), given.double()
        return Built(model, given, target, seed)


def noise(*shape: int, classes: int = 0) -> tuple[Tensor, Tensor | None]:
    return torch.randn(shape), torch.randint(classes, shape[:1]) if classes else None


def cases() -> list[Case]:
    return [*_plain(), *_weights(), *_normalised(), *_residual(), *_convolutional(), *_whole()]


def _plain() -> Iterator[Case]:
    for act, usual in USUAL.items():
        for init in ("default", usual, "matched"):
            yield Case("plain512", f"{act}-{init}", _chain(act, init, 512), partial(noise, BATCH, 512), 15, DEPTH)
            if init != "default" or act in ("sigmoid", "tanh", "relu"):
                yield Case("plain128", f"{act}-{init}", _chain(act, init, 128), partial(noise, BATCH, 128), 100, DEPTH)
    for act, init in (("relu", "he"), ("tanh", "matched"), ("sigmoid", "default")):
        yield Case("plain128", f"{act}-{init}-single", _chain(act, init, 128), partial(noise, 1, 128), 100, DEPTH)


def _chain(act: str, init: str, width: int) -> Callable[[], nn.Module]:
    return partial(n.plain, act, init, width, DEPTH)


def _weights() -> Iterator[Case]:
    for act in (*SMOOTH, "relu", "selu"):
        for init in ("default", "matched"):
            row = "weights_kinked" if act in ("relu", "selu") else "weights"
            make = partial(n.classifier, act, init, 512, DEPTH)
            yield Case(row, f"{act}-{init}", make, partial(noise, 64, 512, classes=10), 40, DEPTH)


def _normalised() -> Iterator[Case]:
    for norm in ("LayerNorm", "RMSNorm"):
        for act in ("relu", "tanh", "gelu", "silu"):
            before, after = partial(n.norm_first, norm, act, 512, DEPTH), partial(n.norm_last, norm, act, 512, DEPTH)
            yield Case("layernorm", f"Linear-{norm}-{act}", before, partial(noise, BATCH, 512), 25, DEPTH)
            yield Case("layernorm", f"Linear-{act}-{norm}", after, partial(noise, BATCH, 512), 25, DEPTH)
    for act in ("relu", "tanh", "gelu"):
        for batch in (16, 64):
            make = partial(n.norm_first, "BatchNorm", act, 512, DEPTH)
            yield Case("batchnorm", f"{act}-B{batch}", make, partial(noise, batch, 512), 9, DEPTH)


def _residual() -> Iterator[Case]:
    for row, std in (("stream_small", 0.02), ("stream_unit", 1 / math.sqrt(256))):
        for act in ("relu", "gelu"):
            yield Case(row, f"MLP-{act}", partial(n.residual, act, 256, 24, std), partial(noise, BATCH, 256), 9)
        yield Case(row, "transformer", partial(n.transformer, 256, 24, std), partial(noise, 2, 64, 256), 9)


def _convolutional() -> Iterator[Case]:
    for act in SMOOTH:
        for init in ("default", "matched"):
            make = partial(n.convolutional, act, init, 64, 20)
            yield Case("conv", f"{act}-{init}", make, partial(noise, 2, 64, 16, 16), 40)


def _whole() -> Iterator[Case]:
    for name, (make, batch) in WHOLE.items():
        yield Case("ledger", name, make, batch, 40 if name.startswith("demo") else 9, ledger=True)
