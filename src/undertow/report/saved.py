"""The report of a run file: where the run came from, and the diagnosis of each of its models."""

from __future__ import annotations

import json
from typing import Any

from undertow.diagnosis import Diagnosis, SavedRun
from undertow.foundation import NothingObservedError, current_language, say
from undertow.report import document as tree
from undertow.report.compose import diagnosis_document
from undertow.report.document import Block, Column, Document, Row, Table, Text
from undertow.report.structured import structured

_SHOWN = (
    "command",
    "folder",
    "commit",
    "started",
    "ended",
    "host",
    "devices",
    "threads",
    "python",
    "torch",
    "variables",
)
"""Of what a run file knows of its run, in this order."""


def diagnoses(run: SavedRun) -> dict[str, Diagnosis | None]:
    """Per model, None where no step of it was measured whole.  Raises NothingObservedError without any model."""
    if not run.names:
        run.diagnose()  # raises, with the reason
    found: dict[str, Diagnosis | None] = {}
    for name in run.names:
        try:
            found[name] = run.diagnose(name)
        except NothingObservedError:
            found[name] = None
    return found


def saved_document(run: SavedRun, found: dict[str, Diagnosis | None]) -> Document:
    """The whole report, in the current language."""
    blocks: list[Block] = [tree.Callout(say("saved.damaged", what=d), "warn") for d in run.damage]
    subtitle = ""
    for name, diagnosis in found.items():
        if len(found) > 1:
            blocks.append(tree.Heading(say("saved.model", name=name)))
        if diagnosis is None:
            blocks.append(tree.Callout(say("run.unmeasured"), "warn"))
            continue
        part = diagnosis_document(diagnosis)
        if len(found) > 1:
            blocks += [tree.Paragraph(part.subtitle), *map(_lower, part.blocks)]
        else:
            subtitle = part.subtitle
            blocks += part.blocks
    blocks += [tree.Heading(say("saved.section")), _facts(run)]
    return Document(say("saved.title", file=run.path.name), current_language(), tuple(blocks), subtitle)


def saved_structure(run: SavedRun, found: dict[str, Diagnosis | None]) -> dict[str, Any]:
    """The same for `as_json`."""
    models = {name: structured(d) if d else None for name, d in found.items()}
    return {"run": run.environment, "damage": run.damage, "models": models}


def _lower(block: Block) -> Block:
    return tree.Heading(block.text, 3) if isinstance(block, tree.Heading) else block


def _facts(run: SavedRun) -> Table:
    facts = run.environment
    known = {key: _readable(key, facts[key]) for key in _SHOWN if key in facts}
    if facts.get("dirty") == "yes":
        known["commit"] = say("saved.dirty", commit=known["commit"])
    if "ended" not in facts:
        known["ended"] = say("saved.not_ended")
    rows = (Row((Text(say(f"saved.fact.{key}")), Text(known[key]))) for key in _SHOWN if known.get(key))
    return Table((Column(say("saved.fact.what")), Column(say("saved.fact.value"))), tuple(rows))


def _readable(key: str, value: str) -> str:
    if key == "variables":
        return " ".join(f"{name}={text}" for name, text in json.loads(value).items())
    if key in ("started", "ended"):  # ISO 8601 in UTC, as the file has it
        return value.replace("T", " ").replace("+00:00", " UTC")
    return ", ".join(json.loads(value)) if key == "devices" else value
