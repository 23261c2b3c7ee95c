"""What a watched program ends with on the terminal: per model what was seen, and the findings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from undertow.diagnosis import Diagnosis, judge
from undertow.foundation import NothingObservedError, current_language, say
from undertow.foundation.numbers import share
from undertow.record import LossReading, Recording
from undertow.report import document as tree
from undertow.report.compose import finding_blocks, grouped
from undertow.report.document import Block, Document

MOST_MODELS, MOST_NOTES = 6, 5
"""More are counted, not shown: a search over settings may train a hundred models."""


def ending(recordings: Sequence[Recording], program: str, budget: float | None = None) -> tuple[Document, bool]:
    """The end of a run, and whether any finding is above a note; `budget` is what watching was to cost at most."""
    shown, sick = [], False
    for i, recording in enumerate(recordings):
        diagnosis = _diagnosis(recording)
        sick = sick or (diagnosis is not None and not diagnosis.healthy)
        if i < MOST_MODELS or (diagnosis is not None and not diagnosis.healthy and len(shown) < 2 * MOST_MODELS):
            shown.append(_model(recording, diagnosis, budget, named=len(recordings) > 1))
    blocks = [block for blocks in shown for block in blocks]
    if len(shown) < len(recordings):
        blocks.append(tree.Paragraph(say("run.more_models", count=len(recordings) - len(shown))))
    return Document(say("run.title", program=program), current_language(), tuple(blocks)), sick


def _diagnosis(recording: Recording) -> Diagnosis | None:
    try:
        return judge(recording)
    except NothingObservedError:
        return None


def _model(recording: Recording, diagnosis: Diagnosis | None, budget: float | None, named: bool) -> list[Block]:
    blocks: list[Block] = [tree.Heading(recording.name)] if named else []
    blocks.append(tree.Paragraph(_seen(recording, budget)))
    if diagnosis is None:
        blocks.append(tree.Callout(say("run.unmeasured"), "warn"))
    else:
        blocks += [block for finding in diagnosis.findings for block in finding_blocks(finding, recording)]
        if not diagnosis.findings:
            blocks.append(tree.Callout(say("report.healthy"), "good"))
    unseen = grouped(recording.not_observed.values())
    notes = [say("run.not_observed", what=what, reason=reason) for what, reason in unseen]
    if len(notes) > MOST_NOTES:
        notes = [*notes[: MOST_NOTES - 1], say("run.more_notes", count=len(notes) - MOST_NOTES + 1)]
    return blocks + list(map(tree.Paragraph, notes))


def _seen(recording: Recording, budget: float | None) -> str:
    names = [say("run.unknown_optimizer") if name == "unknown" else name for name in recording.optimizers]
    counts = {"steps": recording.steps_seen, "measured": recording.steps_measured}
    parts = [say("run.seen", **counts, optimizers=", ".join(dict.fromkeys(names)))]
    if recording.losses:
        parts.append(_losses(recording.losses))
    if recording.overhead is not None:
        parts.append(say("report.overhead", share=share(recording.overhead, 1)))
        if budget is not None and recording.overhead > budget:
            parts.append(say("run.short", budget=share(budget)))
    return " ".join(parts)


def _losses(losses: Sequence[LossReading]) -> str:
    """From the first to the last that was noted; of one that stays NaN or Inf, since when."""
    first, last = losses[0].value, losses[-1].value
    if math.isfinite(last):
        return say("run.loss.changed", first=first, last=last, step=losses[-1].step)
    sound = max((i for i, reading in enumerate(losses) if math.isfinite(reading.value)), default=None)
    if sound is None:
        return say("run.loss.never", first=first)
    before, since = losses[sound], losses[sound + 1].step
    return say("run.loss.broken", first=first, sound=before.value, step=before.step, last=last, since=since)
