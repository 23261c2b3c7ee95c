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

from undertow.diagnosis.needs import Need
from undertow.foundation import Finding, Kind, NotJudged, Registry
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
    """One way in which a fault of a kind shows.  Thresholds are fields of the dataclass, each with its origin."""

    kind: ClassVar[Kind]
    needs: ClassVar[tuple[Need, ...]] = ()
    """What a recording must hold for `check` to be asked at all."""

    @property
    def name(self) -> str:
        """That of its file; several rules may find one kind."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        """The findings in a recording that meets the rule's needs, and what it could not decide after a closer look."""

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
    made = cls()
    RULES.add(made.name, made)
    return cls


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule in `undertow/diagnosis/rules`, in the order of their files' names."""
    package = import_module("undertow.diagnosis.rules")
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{module}")
    return tuple(r for _, r in sorted(RULES.items()))  # one may have been imported before
