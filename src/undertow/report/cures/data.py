"""The same as plain data, for another program: names and numbers as they are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from undertow.cures import Verdict, Verdicts
from undertow.cures.search.race import Lane
from undertow.report.cures.outcome import Change, ending, fallen, gained, headline, instead
from undertow.report.structured import finding_data

FORMAT = 1
"""Raised when a name here is given up or changes its meaning; new names may come."""


def verdicts_data(verdicts: Verdicts, target: str = "") -> dict[str, Any]:
    """What `as_json` writes of a search."""
    grown = gained(verdicts)
    return {
        "format": FORMAT,
        "target": target,
        "ending": ending(verdicts),
        "says": headline(verdicts, target),
        "instead": instead(verdicts),
        "best": verdicts.best.cure if verdicts.best else None,
        "seeds": verdicts.seeds,
        "steps": verdicts.steps,
        "metric": verdicts.metric,
        "seconds": verdicts.seconds,
        "cost": verdicts.cost,
        "interrupted": verdicts.interrupted,
        "control": {
            "metrics": verdicts.control,
            "untrained": verdicts.untrained,
            "kinds": verdicts.control_findings,
            "reason": verdicts.control_reason,
            "findings": [finding_data(f) for f in verdicts.findings],
            "losses": verdicts.control_curves,
            "fall": _change(fallen(verdicts)),
            "gain": _change(grown) if grown else None,
        },
        "verdicts": [_verdict(v) for v in verdicts],
        "raced": [_lane(lane) for lane in verdicts.raced],
        "untried": [{"cure": label, "reason": reason} for label, reason in verdicts.untried],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {f.name: getattr(verdict, f.name) for f in fields(verdict)}


def _lane(lane: Lane) -> dict[str, Any]:
    metrics = [{"step": step, "metric": value} for step, value in sorted(lane.metrics.items())]
    return {"cure": lane.cure.label if lane.cure else None, "metrics": metrics, "reason": lane.reason}


def _change(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after, "interval": change.interval}
