"""The whole report of a search: what was wrong, what was proven, what was tried besides, and the patch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from undertow.cures import Verdicts
from undertow.foundation import current_language, say
from undertow.report import document as tree
from undertow.report.compose import finding_card
from undertow.report.cures.outcome import ending, headline, instead
from undertow.report.cures.tables import raced_table, untried_table, verdict_table
from undertow.report.document import Block, Document
from undertow.report.metrics import metric_name

if TYPE_CHECKING:
    from undertow.cures.patching import Patched, Proof

_TONES: dict[str, tree.Tone] = {"cured": "good", "helped": "good", "healthy": "good", "interrupted": "warn"}


def verdicts_document(
    verdicts: Verdicts,
    target: str = "",
    then: str = "",
    patched: Patched | None = None,
    proof: Proof | None = None,
    whole: bool = True,
) -> Document:
    """The verdict in one sentence first; the patch last, ready to copy: as the difference of the user's file where it
    could be edited, else as lines.  `whole` is a page with figures, on which the sentence stands below a title."""
    sentence = headline(verdicts, target, then)
    blocks: list[Block] = [tree.Callout(sentence, _TONES.get(ending(verdicts), "bad"))] if whole else []
    blocks += map(tree.Paragraph, instead(verdicts))
    if verdicts.findings:
        blocks += [tree.Heading(say("cure.section.fault")), *map(finding_card, verdicts.findings)]
    if verdicts.verdicts:
        blocks += [tree.Heading(say("cure.section.proof")), verdict_table(verdicts)]
    if whole:
        blocks += _figures(verdicts)
    if verdicts.raced:
        blocks += [tree.Heading(say("cure.section.race")), raced_table(verdicts.raced)]
    late = [(label, say("cure.untried.time")) for label in verdicts.unproven]
    if untried := [*late, *verdicts.untried]:
        blocks += [tree.Heading(say("cure.section.untried")), untried_table(untried)]
    blocks += _patch(verdicts, patched, proof)
    title = say("cure.title", target=target) if whole else sentence
    return Document(title, current_language(), tuple(blocks), judged_by(verdicts))


def judged_by(verdicts: Verdicts) -> str:
    """Seeds, steps, metric and what the search cost."""
    seeds = ", ".join(map(str, verdicts.seeds))
    values = {"cost": verdicts.cost, "seconds": f"{verdicts.seconds:.0f}"}
    text = say("cure.judged", seeds=seeds, steps=verdicts.steps, metric=metric_name(verdicts))
    known = math.isfinite(verdicts.cost)
    return f"{text} {say('cure.cost' if known else 'cure.cost_seconds', **values)}"


def _patch(verdicts: Verdicts, patched: Patched | None, proof: Proof | None) -> list[Block]:
    if verdicts.best is None or not (patched or verdicts.best.patch):
        return []
    blocks: list[Block] = [tree.Heading(say("cure.section.patch"))]
    if proof is not None:
        blocks.append(tree.Callout(proof.says, "good" if proof.holds else "bad"))
    if patched is not None and patched.diff:
        note = [tree.Paragraph(patched.note)] if patched.note else []
        return [*blocks, tree.Code(patched.diff.rstrip(), "diff"), *note]
    if patched is not None:
        blocks.append(tree.Paragraph(patched.why_not))
    return [*blocks, tree.Code(verdicts.best.patch.strip())]


def _figures(verdicts: Verdicts) -> list[Block]:
    from undertow.report.figures import race, trials

    found: list[Block] = []
    if any(verdicts.control_curves):
        caption = say("cure.trials_caption")
        found.append(tree.Figure(trials(verdicts), caption, caption))
    if any(lane.metrics for lane in verdicts.raced):
        caption = say("cure.race_caption")
        found.append(tree.Figure(race(verdicts), caption, caption))
    return found
