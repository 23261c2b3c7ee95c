"""SARIF 2.1.0 (OASIS, 2020), which code hosts show beside the code."""

from __future__ import annotations

from typing import Any

from undertow import __version__
from undertow.diagnosis import Finding, all_rules
from undertow.report.ci.checked import LEVELS, Checked
from undertow.report.structured import as_json, finding_data

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(checked: Checked) -> str:
    """One run; what is ignored is there too, suppressed."""
    inspection = checked.inspection
    results = [_result(checked, f) for f in inspection.findings]
    results += [_result(checked, f) | {"suppressions": [{"kind": "external"}]} for f in inspection.ignored]
    driver = {"name": "undertow", "version": __version__, "rules": _rules()}
    return as_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]})


def _rules() -> list[dict[str, Any]]:
    kinds: dict[str, str] = {}
    for rule in all_rules():
        kinds.setdefault(rule.kind, (rule.__doc__ or rule.kind).split("\n")[0])
    return [{"id": kind, "shortDescription": {"text": text}} for kind, text in kinds.items()]


def _result(checked: Checked, finding: Finding) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": checked.file.replace("\\", "/")}}
    location: dict[str, Any] = {"physicalLocation": place | {"region": {"startLine": checked.line_of(finding)}}}
    if finding.where:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where, "kind": "module"}]
    told = finding_data(finding)
    return {
        "ruleId": finding.kind,
        "level": LEVELS[finding.severity],
        "message": {"text": str(finding)},
        "locations": [location],
        "properties": {key: told[key] for key in ("cause", "step", "evidence", "counter_evidence", "cures")},
    }
