"""A named place in a model where a tensor passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from undertow.foundation import Effect


@dataclass(frozen=True)
class Site:
    """The output of one call of one operation.

    `name` is `blocks.3.up#0` (module path and call index) where the operation is the module's own, and
    `blocks.3:relu#2` (module path, operation and its index there) for a functional call; the root is `forward`.
    """

    module: str
    operation: str
    index: int
    effect: Effect
    functional: bool = False
    source: str | None = None
    """`file.py:12` of the user's line, for a functional call."""

    @cached_property
    def name(self) -> str:
        module = self.module or "forward"
        return f"{module}:{self.operation}#{self.index}" if self.functional else f"{module}#{self.index}"

    @property
    def short(self) -> str:
        """The name without the call index where it is the first call."""
        return self.name.removesuffix("#0")

    @property
    def label(self) -> str:
        """What a reader is shown: `act3`, and `0 (linear)` where the module has only a number for a name."""
        return (
            f"{self.short} ({self.operation})"
            if self.module.rpartition(".")[2].isdigit() and not self.functional
            else self.short
        )

    def __str__(self) -> str:
        return self.name
