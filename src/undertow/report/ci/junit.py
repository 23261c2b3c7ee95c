"""JUnit's XML, which every build server reads: a test case for each kind of fault."""

from __future__ import annotations

from xml.etree import ElementTree

from undertow.diagnosis import Finding
from undertow.diagnosis.ignored import KINDS
from undertow.foundation import say
from undertow.report.ci.checked import Checked


def render(checked: Checked) -> str:
    """A kind with a finding above a note fails; one with ignored findings alone is skipped."""
    inspection = checked.inspection
    failed, skipped = _by_kind([f for f in inspection.findings if f.severity != "note"]), _by_kind(inspection.ignored)
    suite = ElementTree.Element(
        "testsuite",
        name=f"undertow check {checked.target}",
        tests=str(len(KINDS)),
        failures=str(len(failed)),
        errors="0",
        skipped=str(len(skipped.keys() - failed.keys())),
    )
    for kind in KINDS:
        place = {"file": checked.file, "line": str(checked.line)}
        case = ElementTree.SubElement(suite, "testcase", {"name": kind, "classname": checked.target} | place)
        if kind in failed:
            first = failed[kind][0]
            failure = ElementTree.SubElement(case, "failure", type=first.severity, message=first.title)
            failure.text = "\n".join(map(str, failed[kind]))
        elif kind in skipped:
            ElementTree.SubElement(case, "skipped", message=say("check.ignored", what=skipped[kind][0].title))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _by_kind(findings: list[Finding] | tuple[Finding, ...]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.kind, []).append(finding)
    return found
