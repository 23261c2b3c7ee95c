"""What rules need to see before they judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from undertow.record import Recording


@dataclass(frozen=True)
class Need:
    """Evidence without which a rule says "not judged" rather than guess."""

    name: str
    """A key of the messages `unjudged.<name>`, which says what was not seen."""
    met: Callable[[Recording], bool]
    values: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """What that sentence is filled in with."""
    concerns: Callable[[Recording], bool] = field(default=lambda recording: True, compare=False, hash=False)
    """Whether the model has what the rule judges: without it there is nothing to say, nor to leave open."""


def calls(*operations: str) -> Callable[[Recording], bool]:
    """Whether a measured pass holds one of these operations."""
    return lambda recording: any(e.site.operation in operations for s in recording.snapshots for e in s.ledger)


PATH = Need("path", lambda recording: any(s.ledger.path for s in recording.snapshots))
"""A backward pass with at least one site."""
SLOPES = Need(
    "slopes",
    lambda recording: any(e.slope is not None for s in recording.snapshots for e in s.ledger),
    concerns=lambda recording: any(e.site.effect == "activation" for s in recording.snapshots for e in s.ledger),
)
"""An activation whose derivative was measured."""
STEPS = Need("steps", lambda recording: bool(recording.steps))
"""A step of an optimizer: a single batch that was examined has none."""
LOSSES = Need("losses", lambda recording: bool(recording.losses))
"""The loss of at least one step."""
PARAMETERS = Need("parameters", lambda recording: any(s.parameters for s in recording.snapshots))
"""Readings of the weights and their gradients."""


def steps(count: int) -> Need:
    """At least so many optimizer steps."""
    return Need("more_steps", lambda recording: recording.steps_seen >= count, {"count": count})


WIRING = Need("wiring", lambda recording: recording.wiring is not None)
"""A first measured step whose calls were seen, up to an optimizer's step."""
TERMS = Need(
    "terms",
    lambda recording: bool(recording.wiring and recording.wiring.terms),
    concerns=lambda recording: recording.wiring is None or not recording.losses,
)
"""The graph of the loss, and one of torch's loss functions in it; one that was seen without any is another loss."""
