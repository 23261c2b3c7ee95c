"""From the difference of two runs to a document and to plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from undertow.diagnosis.difference import Change, Difference
from undertow.foundation import current_language, say
from undertow.report import document as tree
from undertow.report.compose import finding_card
from undertow.report.document import Block, Cell, Column, Document, Number, Row, Table, Text
from undertow.report.structured import finding_data

MOST = 20
"""Lines of a table of changes: the largest."""


def difference_document(found: Difference, before: str, after: str) -> Document:
    """What is new first, then what may have made it, then the places, those that changed the most first."""
    blocks: list[Block] = []
    if found.appeared:
        blocks += [tree.Heading(say("diff.appeared")), *map(finding_card, found.appeared)]
    blocks += [tree.Callout(say("diff.gone", what=f.title), "good") for f in found.gone]
    blocks += [tree.Callout(say("diff.stayed", what=f.title)) for f in found.stayed]
    if found.facts:
        rows = tuple(Row((Text(say(f"diff.fact.{k}")), Text(old), Text(new))) for k, (old, new) in found.facts.items())
        blocks += [tree.Heading(say("diff.facts")), Table(_columns("what", before, after), rows)]
    for key, names in (("only_before", found.only_before), ("only_after", found.only_after)):
        if names:
            blocks.append(tree.Paragraph(say(f"diff.{key}", count=len(names), sites=", ".join(names[:8]))))
    for key, changes in (("start", found.start), ("late", found.late)):
        blocks += _changes(key, changes, before, after)
    return Document(verdict(found), current_language(), tuple(blocks), _outcome(found))


def verdict(found: Difference) -> str:
    """In one line."""
    if found.worse:
        first = next(f for f in found.appeared if f.severity != "note")
        return say("diff.worse", what=first.title)
    if found.gone and not found.appeared:
        return say("diff.better", what=found.gone[0].title)
    return say("diff.changed" if found.changed or found.facts else "diff.same")


def _outcome(found: Difference) -> str:
    steps = say("diff.steps", before=found.steps[0], after=found.steps[1])
    old, new = found.loss
    return f"{steps} {say('diff.loss', before=old, after=new)}" if not math.isnan(old + new) else steps


def _columns(what: str, before: str, after: str) -> tuple[Column, ...]:
    return Column(say(f"diff.{what}")), Column(before), Column(after)


def _changes(key: str, changes: Sequence[Change], before: str, after: str) -> list[Block]:
    sure = [c for c in changes if c.sure]
    if not changes:
        return []
    heading = tree.Heading(say(f"diff.{key}"))
    if not sure:
        return [heading, tree.Paragraph(say("diff.nothing", count=len(changes)))]
    rows = tuple(map(_row, largest(sure)))
    columns = (
        Column(say("diff.place")),
        Column(say("diff.measure")),
        Column(before, "right"),
        Column(after, "right"),
        Column(say("diff.ratio"), "right"),
    )
    left = say("diff.left_out", count=len(sure) - len(rows)) if len(rows) < len(sure) else ""
    return [heading, Table(columns, rows, note=" ".join(filter(None, (left, say("diff.reading")))))]


def largest(changes: Sequence[Change]) -> list[Change]:
    """Those that changed the most, in the order in which the model has them."""

    def size(change: Change) -> float:
        return abs(math.log(change.ratio)) if 0 < change.ratio < math.inf else math.inf

    kept = sorted(range(len(changes)), key=lambda i: -size(changes[i]))[:MOST]
    return [changes[i] for i in sorted(kept)]


def _row(change: Change) -> Row:
    cells: tuple[Cell, ...] = (Text(change.place, code=True), Text(say(f"diff.measures.{change.measure}")))
    return Row((*cells, Number(change.before.value), Number(change.after.value), Number(change.ratio, 2, times=True)))


def difference_data(found: Difference, before: str, after: str) -> dict[str, Any]:
    """The same for `as_json`, with every place."""
    return {
        "before": before,
        "after": after,
        "worse": found.worse,
        "changed": found.changed,
        "facts": {key: list(pair) for key, pair in found.facts.items()},
        **{key: [finding_data(f) for f in getattr(found, key)] for key in ("appeared", "gone", "stayed")},
        "only_before": found.only_before,
        "only_after": found.only_after,
        **{key: [_data(c) for c in getattr(found, key)] for key in ("start", "late")},
        "loss": list(found.loss),
        "steps": list(found.steps),
    }


def _data(change: Change) -> dict[str, Any]:
    return {
        "place": change.place,
        "measure": change.measure,
        "before": change.before.value,
        "after": change.after.value,
        "ratio": change.ratio,
        "sure": change.sure,
    }
