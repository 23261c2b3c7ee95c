"""A finding of a forecast, with the cures that are worth a trial."""

from __future__ import annotations

from typing import Any

from undertow.foundation import Cause, Evidence, Finding, Kind, Severity

CURES: dict[tuple[str, str], tuple[str, ...]] = {
    ("vanishing", "activation"): ("relu", "batch_norm", "leaky_relu", "swish", "elu"),
    ("vanishing", "weights"): ("batch_norm", "relu"),
    ("vanishing", "depth"): ("batch_norm", "relu"),
    ("exploding", "weights"): ("batch_norm", "clip_norm", "learning_rate"),
    ("exploding", "activation"): ("relu", "batch_norm", "clip_norm"),
    ("exploding", "depth"): ("learning_rate", "clip_norm", "adam"),
    ("dead", "weights"): ("batch_norm", "leaky_relu"),
    ("dead", "depth"): ("leaky_relu", "batch_norm"),
    ("dead", "activation"): ("leaky_relu",),
    ("saturated", "weights"): ("batch_norm", "relu"),
    ("saturated", "input_scale"): ("batch_norm", "relu", "adam"),
}
"""Names of cures worth a trial; matched initial weights come first where they are forecast to help."""


def finding(
    kind: Kind,
    severity: Severity,
    cause: Cause,
    where: str,
    evidence: tuple[Evidence, ...],
    values: dict[str, Any],
) -> Finding:
    cures = CURES.get((kind, cause), ("matched_init",) if kind == "symmetric" and severity != "note" else ())
    return Finding(kind, severity, cause, where, 0, evidence, cures=cures, values=values, table="forecast")
