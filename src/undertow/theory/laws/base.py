"""The laws of propagation: what an operation does to the moments of the signal, and of the backward value."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from undertow.foundation import Effect
from undertow.native.statistics import statistics
from undertow.theory.signal import Delta, Layout, Signal


@dataclass(frozen=True)
class Slot:
    """Stands in a call's arguments for the signal of that input."""

    index: int


@dataclass(frozen=True)
class Call:
    """One call of a torch function in the forward pass, as a law reads it.

    Parameters and constants are real tensors in `args`; a tensor that depends on the model's input is a `Slot`.
    """

    operation: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    given: tuple[tuple[int, ...], ...]
    """The shapes of its inputs, by slot."""
    shape: tuple[int, ...]
    """Of the output."""
    output: int = 0
    """Which of several outputs."""
    formats: tuple[torch.dtype, ...] = ()
    """Of its inputs, by slot."""

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


@dataclass(frozen=True)
class Law(ABC):
    """One operation with its numbers.  A law is a frozen dataclass in a file of its own, under `@law(names…)`.

    `forward` and `backward` are the mean-field limit: exact as the width grows.  What a layer of finite width adds to
    the scatter over initialisations goes to `Signal.spread` and `Delta.spread`.
    """

    shape: tuple[int, ...]
    """Of the operation's output."""

    effect: ClassVar[Effect] = "other"

    @property
    def spelled(self) -> str:
        """What the operation is called where a module of the user's own spells it out; empty: by the module's class."""
        return ""

    @classmethod
    @abstractmethod
    def read(cls, call: Call) -> Law | None:
        """The law of this call; None where it is not of a kind that the law covers."""

    @abstractmethod
    def forward(self, *inputs: Signal) -> Signal:
        """The moments of the output."""

    @abstractmethod
    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        """Per input, what this operation hands back to it; None where nothing."""

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        """Keys of messages `forecast.flags.<key>`: why theory is not to be trusted with these inputs."""
        return ()


LAWS: dict[str, list[type[Law]]] = {}
"""By the name of the operation; the last registered is asked first."""
WHOLE: list[Callable[[nn.Module, tuple[Any, ...], Call], Law | None]] = []
"""Laws of whole modules: each is asked what it makes of a user's module before its inside is looked at."""
L = TypeVar("L", bound=type[Law])


def law(*operations: str) -> Callable[[L], L]:
    """Registers a law for torch functions of these names, without leading and trailing underscores."""

    def register(cls: L) -> L:
        for operation in operations:
            LAWS.setdefault(operation, []).insert(0, cls)
        return cls

    return register


def law_of(call: Call) -> Law | None:
    """The law of a call; None where there is none."""
    for cls in LAWS.get(call.operation, ()):
        found = cls.read(call)
        if found is not None:
            return found
    return None


def is_signal(argument: Any) -> bool:
    return isinstance(argument, Slot)


MOST = 1 << 20
"""Numbers of a weight that its mean square is taken of: of more, every n-th row.  An error of 0.14 % (2/√MOST rows of
normal numbers), for reading 5 billion weights takes seconds."""


def mean_square(tensor: Tensor | None) -> float:
    """E[w²] of real numbers, of a large tensor from a sample of its rows; 0 for None."""
    if tensor is None or not tensor.numel():
        return 0.0
    rows = tensor.detach()
    if rows.numel() > MOST and rows.ndim > 1:
        rows = rows[:: -(-rows.numel() // MOST)]
    if not rows.is_contiguous() or rows.is_complex():
        return float(torch.linalg.vector_norm(rows, dtype=torch.float64 if not rows.is_complex() else None)) ** 2 / max(
            rows.numel(), 1
        )
    return statistics(rows).rms ** 2


def level(bias: Any) -> float:
    """The mean of biases that start beside 0, as those of −4; 0 where it is within four of its standard errors."""
    if not isinstance(bias, Tensor) or bias.numel() < 2:
        return 0.0
    deviation, mean = torch.std_mean(bias.detach().double())
    return float(mean) if abs(float(mean)) > 4 * float(deviation) / math.sqrt(bias.numel()) else 0.0


def like(signal: Signal, shape: tuple[int, ...]) -> Layout:
    """The layout of an output with its input's axes."""
    return signal.layout.of(shape)
