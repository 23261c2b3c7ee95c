"""What a watched program ends with on the terminal: per model what was seen, and the findings."""

from __future__ import annotations

from collections.abc import Sequence

from undertow.diagnosis import Diagnosis, judge
from undertow.foundation import NothingObservedError, current_language, say
from undertow.foundation.numbers import share
from undertow.record import NotObserved, Recording
from undertow.report import document as tree
from undertow.report.compose import finding_blocks
from undertow.report.document import Block, Document

MOST_MODELS, MOST_NOTES = 6, 5
"""More are counted, not shown: a search over settings may train a hundred models."""


def ending(recordings: Sequence[Recording], program: str) -> tuple[Document, bool]:
    """The end of a run, and whether any finding is above a note."""
    shown, sick = [], False
    for i, recording in enumerate(recordings):
        diagnosis = _diagnosis(recording)
        sick = sick or (diagnosis is not None and not diagnosis.healthy)
        if i < MOST_MODELS or (diagnosis is not None and not diagnosis.healthy and len(shown) < 2 * MOST_MODELS):
            shown.append(_model(recording, diagnosis, named=len(recordings) > 1))
    blocks = [block for blocks in shown for block in blocks]
    if len(shown) < len(recordings):
        blocks.append(tree.Paragraph(say("run.more_models", count=len(recordings) - len(shown))))
    return Document(say("run.title", program=program), current_language(), tuple(blocks)), sick


def _diagnosis(recording: Recording) -> Diagnosis | None:
    try:
        return judge(recording)
    except NothingObservedError:
        return None


def _model(recording: Recording, diagnosis: Diagnosis | None, named: bool) -> list[Block]:
    blocks: list[Block] = [tree.Heading(recording.name)] if named else []
    blocks.append(tree.Paragraph(_seen(recording)))
    if diagnosis is None:
        blocks.append(tree.Callout(say("run.unmeasured"), "warn"))
    else:
        blocks += [block for finding in diagnosis.findings for block in finding_blocks(finding, recording)]
        if not diagnosis.findings:
            blocks.append(tree.Callout(say("report.healthy"), "good"))
    notes = [_note(n) for n in recording.not_observed.values()]
    if len(notes) > MOST_NOTES:
        notes = [*notes[: MOST_NOTES - 1], say("run.more_notes", count=len(notes) - MOST_NOTES + 1)]
    return blocks + list(map(tree.Paragraph, notes))


def _seen(recording: Recording) -> str:
    steps, measured = len(recording.steps), len(recording.snapshots)
    parts = [say("run.seen", steps=steps, measured=measured, optimizers=", ".join(dict.fromkeys(recording.optimizers)))]
    if recording.losses:
        parts.append(say("run.loss", first=recording.losses[0].value, last=recording.losses[-1].value))
    if recording.overhead is not None:
        parts.append(say("report.overhead", share=share(recording.overhead, 1)))
    return " ".join(parts)


def _note(note: NotObserved) -> str:
    return say("run.not_observed", what=note.what, reason=note.reason)
