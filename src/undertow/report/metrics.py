"""What a search is judged by, in the reader's language."""

from __future__ import annotations

from undertow.cures import Verdicts
from undertow.foundation import knows, say


def metric_name(verdicts: Verdicts) -> str:
    """The metric's name: "the metric", "minus the held-out loss"."""
    key = f"report.metric.{verdicts.metric.replace(' ', '_').replace('-', '_')}"
    return say(key) if knows(key) else verdicts.metric
