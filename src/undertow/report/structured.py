"""A diagnosis as JSON, for another program: names and numbers as they are, sentences beside them."""

from __future__ import annotations

import json
from typing import Any

from undertow.diagnosis import Diagnosis, Evidence, Finding
from undertow.foundation import EFFECTS
from undertow.record import Entry, Ledger
from undertow.record.runfile.codec import plain
from undertow.report.training import figures_of


def as_json(content: Any) -> str:
    """Standard JSON; a number that is not finite is the text "nan", "inf" or "-inf"."""
    return json.dumps(plain(content), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def structured(diagnosis: Diagnosis) -> dict[str, Any]:
    """What `as_json` writes of one diagnosis."""
    return {
        "healthy": diagnosis.healthy,
        "steps": diagnosis.steps,
        "measured": diagnosis.measured,
        "overhead": diagnosis.overhead,
        "findings": [finding_data(f) for f in diagnosis.findings],
        "ledger": _ledger(diagnosis.ledger),
        "first_ledger": _ledger(diagnosis.first_ledger),
        "not_observed": diagnosis.not_observed,
        "not_judged": [
            {"rule": n.rule, "kind": n.kind, "lacks": n.lacks, "reason": n.reason} for n in diagnosis.not_judged
        ],
        "training": figures_of(diagnosis.recording) if diagnosis.recording is not None else None,
    }


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding with its sentences and its evidence."""
    names = ("kind", "severity", "cause", "confidence", "where", "sites", "step")
    names += ("title", "because", "overturned_by", "cures")
    return {name: getattr(finding, name) for name in names} | {
        "evidence": [_evidence(e) for e in finding.evidence],
        "counter_evidence": [_evidence(e) for e in finding.counter_evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {name: getattr(evidence, name) for name in ("name", "text", "value", "low", "high", "origin", "within")}


def _ledger(ledger: Ledger) -> dict[str, Any]:
    return {"step": ledger.step, "end_to_end": ledger.end_to_end, "entries": [_entry(e) for e in ledger]}


def _entry(entry: Entry) -> dict[str, Any]:
    names = ("on_path", "forward", "backward", "factor", *EFFECTS, "slope")
    return {
        "site": entry.site.name,
        "operation": entry.site.operation,
        "source": entry.site.source,
        "previous": entry.previous.name if entry.previous else None,
    } | {name: getattr(entry, name) for name in names}
