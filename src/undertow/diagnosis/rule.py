"""The protocol of a rule, and the registry that finds each one in its own file."""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from undertow.foundation import Finding, Kind, Registry
from undertow.record import Recording

RULES: Registry[Rule] = Registry("rule", "the files of undertow/diagnosis/rules")
SECTIONS = ("What", "Why it hurts", "Evidence", "Counter-evidence", "Cures", "References")
"""The headings of a rule's docstring, which become its page."""


@dataclass
class Example:
    """A small training run for a rule's own tests."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[..., Tensor]
    batches: list[Any]


class Rule(ABC):
    """One kind of fault.  Thresholds are fields of the dataclass, each labelled with its origin."""

    kind: ClassVar[Kind]
    explains: ClassVar[tuple[Kind, ...]] = ()
    """Kinds that are symptoms of this one where both are found."""

    @abstractmethod
    def check(self, recording: Recording) -> Iterator[Finding]:
        """The findings of this kind in a recording that holds at least one snapshot."""

    @staticmethod
    @abstractmethod
    def sick() -> Example:
        """A run in which the rule must find its fault."""

    @staticmethod
    @abstractmethod
    def healthy() -> Example:
        """A run that looks alike, in which it must stay silent."""


def rule(cls: type[Rule]) -> type[Rule]:
    """Registers the rule with its thresholds as they are."""
    RULES.add(cls.kind, cls())
    return cls


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule in `undertow/diagnosis/rules`, in the order of their files' names."""
    package = import_module("undertow.diagnosis.rules")
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{module}")
    return tuple(r for _, r in RULES.items())
