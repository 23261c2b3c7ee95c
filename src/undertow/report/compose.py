"""From ledgers and findings to the blocks of a document."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from undertow.diagnosis import Diagnosis, Evidence, Finding
from undertow.foundation import EFFECTS, Effect, current_language, knows, say
from undertow.foundation.numbers import share, written
from undertow.record import Entry, Ledger, NotObserved, Recording
from undertow.report import document as tree
from undertow.report.document import Block, Card, Cell, Column, Document, EvidenceRow, Number, Row, Table, Text
from undertow.report.training import approach_table, sections

_MOST_ROWS = 40
"""A longer ledger is thinned: its ends tell the story, and the product stays that of all layers."""
_KEPT_AT_END = 12
_DIGITS = 2
_MOST_NAMES = 3


def layers(ledger: Ledger) -> list[tuple[Entry, ...]]:
    """The main path cut into layers: each starts where weights act and takes what follows up to the next ones."""
    groups: list[list[Entry]] = []
    for entry in ledger.path:
        if not groups or (entry.site.effect == "weights" and any(e.site.effect == "weights" for e in groups[-1])):
            groups.append([])
        groups[-1].append(entry)
    return [tuple(g) for g in groups]


def ledger_table(ledger: Ledger, caption: str = "") -> Table:
    """One row a layer from input to output, with the factors of its operations; a last row with their product."""
    found = layers(ledger)
    always = ("activation", "weights")
    shown: list[Effect] = [e for e in EFFECTS if e in always or any(getattr(x, e) != 1.0 for x in ledger.path)]
    sizes = [g[0].backward_rms for g in found if 0 < g[0].backward_rms < math.inf]
    low, high = (min(sizes) / 3, max(sizes)) if sizes else (1.0, 1.0)
    rows = [_layer_row(g, shown, low, high) for g in found]
    note = ""
    if len(rows) > _MOST_ROWS:
        left_out = len(rows) - 2 * _KEPT_AT_END
        gap: tuple[Cell, ...] = (Text(say("report.ledger.left_out", count=left_out)),)
        blank = (Text("⋮"),) * (3 + len(shown))
        rows = [*rows[:_KEPT_AT_END], Row(gap + blank), *rows[-_KEPT_AT_END:]]
        note = say("report.ledger.thinned", count=left_out, total=len(found))
    columns = [
        Column(say("report.ledger.layer")),
        Column(say("report.ledger.forward"), "right"),
        Column(say("report.ledger.backward")),
        Column(say("report.ledger.factor"), "right"),
        *(Column(say(f"report.effect.{e}"), "right") for e in shown),
    ]
    rows += _totals(ledger, shown)
    return Table(
        tuple(columns),
        tuple(rows),
        caption or say("report.ledger.caption"),
        " ".join(filter(None, (note, say("report.ledger.reading")))),
    )


def _layer_row(layer: tuple[Entry, ...], shown: Sequence[Effect], low: float, high: float) -> Row:
    first, rest = layer[0].site.label, dict.fromkeys(e.site.operation for e in layer[1:])
    parts = [math.prod(getattr(e, effect) for e in layer) for effect in shown]
    return Row(
        (
            Text(" → ".join((first, *rest)), code=True),
            Number(layer[-1].forward_rms, _DIGITS),
            tree.Bar(layer[0].backward_rms, low, high, _DIGITS),
            _times(math.prod(e.factor for e in layer)),
            *map(_times, parts),
        )
    )


def _totals(ledger: Ledger, shown: Sequence[Effect]) -> tuple[Row, Row]:
    empty = Text("")
    product = (
        Text(say("report.ledger.product")),
        empty,
        empty,
        _times(ledger.product),
        *(_times(ledger.total(e)) for e in shown),
    )
    measured = (Text(say("report.ledger.end_to_end")), empty, empty, _times(ledger.end_to_end), *(empty,) * len(shown))
    return Row(product, strong=True), Row(measured, strong=True)


def _times(factor: float) -> Number:
    return Number(factor, _DIGITS, times=True)


def finding_card(finding: Finding) -> Card:
    """A finding with its evidence, what speaks against it, what would overturn it, and its cures."""
    return Card(
        finding.severity,
        finding.title,
        finding.because,
        tuple(map(_evidence, finding.evidence)),
        tuple(map(_evidence, finding.counter_evidence)),
        finding.overturned_by,
        finding.cures,
    )


def finding_blocks(finding: Finding, recording: Recording | None) -> list[Block]:
    """A finding, and for numbers that ran away the steps that led there."""
    ran_away = finding.kind in ("nonfinite", "exploding")
    came = approach_table(recording, finding.step) if recording is not None and ran_away else None
    return [finding_card(finding), *([came] if came else [])]


def _evidence(evidence: Evidence) -> EvidenceRow:
    low, high = evidence.low, evidence.high
    if low is not None and high is not None:
        expected = say("report.range.between", low=written(low), high=written(high))
    elif low is not None:
        expected = say("report.range.at_least", low=written(low))
    else:
        expected = say("report.range.at_most", high=written(high)) if high is not None else ""
    key = f"origin.{evidence.origin}"
    origin = (say(key) if knows(key) else evidence.origin) if evidence.origin else ""
    return EvidenceRow(evidence.text, evidence.value, expected, origin, evidence.within)


def diagnosis_document(diagnosis: Diagnosis, title: str = "", figures: bool = True) -> Document:
    """The whole report of a diagnosis, in the current language."""
    from undertow.report.figures import depth_profile

    seen = say("report.seen", steps=diagnosis.steps, measured=diagnosis.measured)
    cost = say("report.overhead", share=share(diagnosis.overhead, 1)) if diagnosis.overhead is not None else ""
    blocks: list[Block] = [tree.Heading(say("report.section.findings"))]
    recording = diagnosis.recording
    for finding in diagnosis.findings:
        blocks += finding_blocks(finding, recording)
    if diagnosis.healthy:
        blocks.append(tree.Callout(say("report.healthy"), "good"))
    if diagnosis.ledger.path:
        blocks += [tree.Heading(say("report.section.ledger")), tree.Paragraph(say("report.ledger.explained"))]
        if figures and any(0 < e.backward_rms < math.inf for e in diagnosis.ledger.path):
            svg = depth_profile(_ledgers(diagnosis))
            blocks.append(tree.Figure(svg, say("report.depth_caption"), say("report.depth_alt")))
        ledger = _sound(diagnosis)
        caption = "" if ledger is diagnosis.ledger else say("report.ledger.sound", step=ledger.step)
        blocks.append(ledger_table(ledger, caption))
    if recording is not None:
        blocks += sections(recording)
    if diagnosis.not_judged:
        blocks += [tree.Heading(say("report.section.not_judged")), _not_judged(diagnosis)]
    if diagnosis.not_observed:
        blocks += [tree.Heading(say("report.section.not_observed")), _not_observed(diagnosis)]
    subtitle = " ".join(filter(None, (seen, cost)))
    return Document(title or say("report.title"), current_language(), tuple(blocks), subtitle)


def _sound(diagnosis: Diagnosis) -> Ledger:
    """The last ledger whose numbers are finite: after a NaN, or where nothing comes back, no table can be read."""
    snapshots = reversed(diagnosis.recording.snapshots if diagnosis.recording else ())
    known = (diagnosis.ledger, *(s.ledger for s in snapshots), diagnosis.first_ledger)
    sound = (ledger for ledger in known if math.isfinite(ledger.end_to_end) and math.isfinite(ledger.product))
    return next(sound, diagnosis.ledger)


def _ledgers(diagnosis: Diagnosis) -> dict[str, Ledger]:
    ledger = _sound(diagnosis)
    last = {say("report.at_step", step=ledger.step): ledger}
    if diagnosis.first_ledger.step == ledger.step or not diagnosis.first_ledger.path:
        return last
    return {say("report.at_step", step=diagnosis.first_ledger.step): diagnosis.first_ledger, **last}


def _not_observed(diagnosis: Diagnosis) -> Table:
    columns = (Column(say("report.not_observed.what")), Column(say("report.not_observed.reason")))
    rows = (Row((Text(what, code=True), Text(reason))) for what, reason in grouped(diagnosis.not_observed))
    return Table(columns, tuple(rows))


def _not_judged(diagnosis: Diagnosis) -> Table:
    columns = (Column(say("report.not_judged.rule")), Column(say("report.not_judged.reason")))
    rows = (Row((Text(n.rule, code=True), Text(n.reason))) for n in diagnosis.not_judged)
    return Table(columns, tuple(rows))


def grouped(notes: Iterable[NotObserved]) -> list[tuple[str, str]]:
    """What was not observed with its reason, once a reason: twelve layers of a transformer are not seen for one."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for note in notes:
        by_reason[note.reason].append(note.what)
    return [(_listed(what), reason) for reason, what in by_reason.items()]


def _listed(names: list[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return say("run.names", first=names[0], last=names[-1], count=len(names))
