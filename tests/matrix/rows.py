"""The rows of the matrix: a small function each, which makes one model with its loop, and what is to be seen of it.

Add a row to any file `rows_*.py` here::

    @row(1, "MLP, 20 sigmoid layers", activations={"sigmoid": 20}, findings={"vanishing": "0 (linear)"})
    def deep_sigmoid() -> Setting:
        return classifying(nn.Sequential(...), (32, 16))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Setting:
    """One training run, made anew with a fixed seed for each look at it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[int], Tensor]
    """The forward pass of step k, up to the loss."""
    steps: int = 12
    step: Callable[[int], Tensor] | None = None
    """Step k of a loop of its own, which gives the loss; else zero_grad, backward, step."""

    def train(self) -> list[Tensor]:
        """The losses."""
        return [self.run(k).detach().clone() for k in range(self.steps)]

    def run(self, k: int) -> Tensor:
        return (self.step or self.plain)(k)

    def plain(self, k: int) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(k)
        loss.backward()
        self.optimizer.step()
        return loss


@dataclass(frozen=True)
class Row:
    """A model of the matrix and what must be seen of it."""

    number: int
    title: str
    make: Callable[[], Setting]
    activations: Mapping[str, int] = field(default_factory=dict)
    """How many sites of each activation the last ledger has, counted by hand from the model's code."""
    findings: Mapping[str, str] = field(default_factory=dict)
    """Kinds above a note and where; none for a healthy model."""
    not_observed: tuple[str, ...] = ()
    """A part of each line of `diagnosis.not_observed`, in any order."""
    tolerance: float = 1e-5
    """Of the backward values' rms against autograd, relative."""
    truth: bool = True
    """Whether `loss(k)` is all of a step's graph, so that `torch.autograd.grad` of it is the truth of the ledger."""
    parameters: bool = True
    """Whether it is that of the parameters' gradients too: one pass, unscaled and unclipped."""
    every_step: bool = True
    """Whether each step is measured: not where the model's own course changes, and a plan of it is left."""
    fast: bool = False
    """Whether it belongs to the fast tests."""
    needs: str = ""
    """A package that may be missing."""

    @property
    def id(self) -> str:
        return f"{self.number}-{self.make.__name__}"

    def setting(self) -> Setting:
        torch.manual_seed(self.number)
        return self.make()


ROWS: dict[str, Row] = {}


def row(
    number: int,
    title: str,
    *,
    findings: Mapping[str, str] | None = None,
    not_observed: Iterable[str] = (),
    activations: Mapping[str, int] | None = None,
    tolerance: float = 1e-5,
    truth: bool = True,
    parameters: bool = True,
    every_step: bool = True,
    fast: bool = False,
    needs: str = "",
) -> Callable[[Callable[[], Setting]], Callable[[], Setting]]:
    """Enters a row; see `Row` for the fields."""

    def enter(make: Callable[[], Setting]) -> Callable[[], Setting]:
        made = Row(
            number,
            title,
            make,
            activations or {},
            findings or {},
            tuple(not_observed),
            tolerance,
            truth,
            parameters,
            every_step,
            fast,
            needs,
        )
        assert made.id not in ROWS
        ROWS[made.id] = made
        return make

    return enter


def all_rows() -> list[Row]:
    """Every row, by its number."""
    for file in sorted(Path(__file__).parent.glob("rows_*.py")):
        importlib.import_module(file.stem)
    return sorted(ROWS.values(), key=lambda r: r.number)


# ------------------------------------------------------------ data


def teacher(shape: tuple[int, ...], classes: int, steps: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Standard normal inputs, labelled by a random linear teacher: something to learn, at unit scale."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(int(torch.tensor(shape[1:]).prod()), classes, generator=generator)
    inputs = [torch.randn(shape, generator=generator) for _ in range(steps)]
    return [(x, (x.flatten(1) @ weights).argmax(1)) for x in inputs]


def classifying(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    classes: int = 4,
    steps: int = 12,
    optimizer: torch.optim.Optimizer | None = None,
    output: Callable[..., Tensor] = lambda y: y,
) -> Setting:
    """The model as a classifier of `teacher`'s inputs; `output` takes the logits out of what it returns."""
    batches = teacher(shape, classes, steps)
    return Setting(
        model,
        optimizer or torch.optim.AdamW(model.parameters(), 3e-3),
        lambda k: F.cross_entropy(output(model(batches[k][0])), batches[k][1]),
        steps,
    )


def counting(vocabulary: int, batch: int, length: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Token sequences that count up modulo the vocabulary from a random start: a language that can be learned."""
    generator = torch.Generator().manual_seed(seed)
    starts = [torch.randint(vocabulary, (batch, 1), generator=generator) for _ in range(steps)]
    return [(start + torch.arange(length)) % vocabulary for start in starts]


ELSEWHERE: dict[int, tuple[str, str]] = {
    30: ("DDP, 2 gloo processes, and no_sync", "tests/ranks"),
    31: ("FSDP2, 2 gloo processes", "tests/ranks"),
    32: ("FSDP1 with use_orig_params", "tests/ranks"),
    37: ("Lightning, automatic and manual optimization", "tests/frameworks"),
    38: ("Hugging Face Trainer with accumulation", "tests/frameworks"),
    39: ("Accelerate loop", "tests/frameworks"),
}
"""Rows that need processes or a program of their own have their tests there."""
