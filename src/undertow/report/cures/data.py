"""The same as plain data, for another program: names and numbers as they are."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from undertow.cures import Verdict, Verdicts
from undertow.cures.search.race import Lane
from undertow.report.cures.outcome import Change, ending, fallen, gained, headline, instead
from undertow.report.structured import finding_data

if TYPE_CHECKING:
    from undertow.cures.patching import Patched, Proof

FORMAT = 1
"""Raised when a name here is given up or changes its meaning; new names may come."""


def verdicts_data(
    verdicts: Verdicts,
    target: str = "",
    then: str = "",
    patched: Patched | None = None,
    proof: Proof | None = None,
) -> dict[str, Any]:
    """What `as_json` writes of a search."""
    grown = gained(verdicts)
    return {
        "format": FORMAT,
        "target": target,
        "ending": ending(verdicts),
        "says": headline(verdicts, target),
        "next": then,
        "instead": instead(verdicts),
        "best": verdicts.best.cure if verdicts.best else None,
        "seeds": verdicts.seeds,
        "steps": verdicts.steps,
        "metric": verdicts.metric,
        "seconds": verdicts.seconds,
        "cost": verdicts.cost,
        "interrupted": verdicts.interrupted,
        "out_of_time": verdicts.out_of_time,
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
        "unproven": verdicts.unproven,
        "patch": _patch(patched, proof) if patched else None,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    names = [f.name for f in fields(verdict) if f.name not in ("change", "effects")]
    effects = asdict(verdict.effects) if verdict.effects else None
    return {name: getattr(verdict, name) for name in names} | {"effects": effects}


def _patch(patched: Patched, proof: Proof | None) -> dict[str, Any]:
    names = ("kind", "diff", "lines", "why_not", "note")
    proven = (
        {"metrics": proof.metrics, "equal": proof.equal, "holds": proof.holds, "says": proof.says} if proof else None
    )
    return {name: getattr(patched, name) for name in names} | {"proof": proven}


def _lane(lane: Lane) -> dict[str, Any]:
    metrics = [{"step": step, "metric": value} for step, value in sorted(lane.metrics.items())]
    return {"cure": lane.cure.label, "metrics": metrics, "reason": lane.reason}


def _change(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after, "interval": change.interval}
