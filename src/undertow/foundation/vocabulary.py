"""The words that findings are made of; `docs/diagnosis.md` says what each means."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "vanishing",
    "exploding",
    "saturated",
    "dead",
    "nonfinite",
    "disconnected",
    "symmetric",
    "unstable_lr",
    "too_small_lr",
    "loss_mismatch",
]
Severity = Literal["critical", "warning", "note"]
Cause = Literal["activation", "weights", "depth", "input_scale", "learning_rate", "graph", "loss", "none"]
Confidence = Literal["certain", "likely", "possible"]
Effect = Literal["activation", "weights", "normalisation", "branching", "other"]
"""What an operation does to the backward value that passes it."""
EFFECTS: tuple[Effect, ...] = ("activation", "weights", "normalisation", "branching", "other")
