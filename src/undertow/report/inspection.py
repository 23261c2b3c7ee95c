"""From an inspection to a document and to plain data."""

from __future__ import annotations

from typing import Any

from undertow.cures.inspection import Inspection
from undertow.foundation import current_language, say
from undertow.report import document as tree
from undertow.report.compose import diagnosis_document, finding_card
from undertow.report.document import Block, Column, Document, Row, Table, Text
from undertow.report.forecast import forecast_data
from undertow.report.structured import finding_data, structured


def inspection_document(inspection: Inspection, target: str, whole: bool = False) -> Document:
    """The verdict first; `whole` adds the diagnosis with its ledger and figures."""
    blocks: list[Block] = [finding_card(f) for f in inspection.findings]
    if inspection.healthy:
        blocks.insert(0, tree.Callout(_healthy(inspection), "good"))
    if inspection.failure:
        blocks.insert(0, tree.Callout(say("check.broke", reason=inspection.failure), "bad"))
    if inspection.ignored:
        rows = tuple(Row((Text(f"{f.kind}:{f.where}", code=True), Text(f.title))) for f in inspection.ignored)
        blocks.append(Table((Column(say("check.ignore")), Column(say("check.finding"))), rows))
    blocks += [tree.Callout(say("check.unused", pattern=p), "warn") for p in inspection.unused]
    if whole:
        part = diagnosis_document(inspection.diagnosis)
        start = next((i for i, b in enumerate(part.blocks) if i and isinstance(b, tree.Heading)), len(part.blocks))
        blocks += part.blocks[start:]
    return Document(verdict(inspection, target), current_language(), tuple(blocks), seen(inspection))


def verdict(inspection: Inspection, target: str) -> str:
    """One line: whether it passes, and what is worst."""
    if inspection.healthy:
        return say("check.passes", target=target)
    sick = [f for f in inspection.findings if f.severity != "note"]
    more = say("check.more", count=len(sick) - 1) if len(sick) > 1 else ""
    return say("check.fails", target=target, what=sick[0].title, more=more)


def seen(inspection: Inspection) -> str:
    """What it was judged by."""
    return say("check.seen" if inspection.trained else "check.seen_once", steps=inspection.diagnosis.measured)


def _healthy(inspection: Inspection) -> str:
    if inspection.ignored:
        return say("check.healthy_but")
    return say("check.healthy" if inspection.trained else "check.healthy_once", steps=inspection.diagnosis.measured)


def inspection_data(inspection: Inspection, target: str) -> dict[str, Any]:
    """The same for `as_json`."""
    return {
        "target": target,
        "healthy": inspection.healthy,
        "findings": [finding_data(f) for f in inspection.findings],
        "ignored": [finding_data(f) for f in inspection.ignored],
        "unused": inspection.unused,
        "failure": inspection.failure,
        "forecast": forecast_data(inspection.forecast),
        "diagnosis": structured(inspection.diagnosis),
    }
