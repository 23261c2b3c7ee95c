"""What the first measured steps show of how model, loss and optimizer hang together, beside any size."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """A call that took what takes part in the gradient and gave back what does not."""

    operation: str
    """`detach`, `gt`, `argmax`, `item` …; `no_grad` for whatever ran where gradients are off."""
    module: str
    source: str | None
    """`file.py:12` of the user's line."""
    training: bool = True
    """Whether the module was in training mode: with gradients off in evaluation mode it is frozen on purpose."""


@dataclass(frozen=True)
class Unreached:
    """A trained parameter that the forward pass used and whose gradient was None before the optimizer's step."""

    parameter: str
    where: str
    """The label of the first site of its module, its path where it had none."""
    cut: Cut | None
    """Behind which it lies: the first one whose values came back into the gradient.  None where no such is known, as
    of an output that nobody used."""


@dataclass(frozen=True)
class Term:
    """One term of the loss: its operations from the loss function back to the last layer of weights."""

    operations: tuple[str, ...]
    """`("nll_loss", "log_softmax", "softmax")`; calls that only move values are left out."""
    axis: int | None = None
    """Of the last softmax among them, counted from 0; None where there is none."""
    shape: tuple[int, ...] = ()
    """Of what that softmax gave."""
    value: float = math.nan
    """Of the loss, where it is this term alone, up to a factor."""

    @property
    def classes(self) -> int:
        """The length of the last softmax's axis; 0 where there is none."""
        return 0 if self.axis is None else self.shape[self.axis]


@dataclass(frozen=True)
class Twins:
    """Units of one weight, and how many have another with the same weights and the same gradient."""

    parameter: str
    units: int
    twins: int
    kinds: int
    """How many different units there are."""
    moving: bool
    """Whether its gradient has any value that is more than the rounding of a sum of 0."""


@dataclass(frozen=True)
class Wiring:
    """Of one step, with what the steps before it have shown of the same."""

    step: int
    unreached: tuple[Unreached, ...] = ()
    """In the order of the forward pass."""
    terms: tuple[Term, ...] = ()
    """Of the first measured step; empty where the loss could not be seen."""
    twins: tuple[Twins, ...] = ()
    """Of those weights whose units all have an equal one, as this step found them."""
    replaced: tuple[str, ...] = ()
    """Parameters in whose place an optimizer holds a tensor that is no longer the model's."""
    lost: tuple[Unreached, ...] = ()
    """Those that a cut of a later step lies before, although the first steps reached them; in the same order."""
