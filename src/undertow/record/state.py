"""What became of each parameter of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["trained", "frozen", "unused", "zero"]
"""trained: has received a gradient other than zero; frozen: requires none; unused: requires one and has not received
any so far; zero: has received zeros only so far."""


@dataclass(frozen=True)
class ParameterState:
    """One parameter, as far as the steps that were measured show."""

    name: str
    status: Status
    shape: tuple[int, ...]
    optimizer: int | None = None
    """The place in `Recording.optimizers` of the one that holds it; None where none that has stepped does."""
    rows: tuple[int, int] | None = None
    """Of a sparse gradient: how many rows it had in the first measured step, and of how many."""
