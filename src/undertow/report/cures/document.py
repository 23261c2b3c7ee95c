"""The whole report of a search: what was wrong, what was proven, what was tried besides, and the patch."""

from __future__ import annotations

from undertow.cures import Verdicts
from undertow.foundation import current_language, say
from undertow.report import document as tree
from undertow.report.compose import finding_card
from undertow.report.cures.outcome import ending, headline, instead
from undertow.report.cures.tables import raced_table, untried_table, verdict_table
from undertow.report.document import Block, Document
from undertow.report.metrics import metric_name

_TONES: dict[str, tree.Tone] = {"cured": "good", "helped": "good", "healthy": "good", "interrupted": "warn"}


def verdicts_document(verdicts: Verdicts, target: str = "", then: str = "", whole: bool = True) -> Document:
    """The verdict in one sentence as the title; `whole` adds the figures.  The patch comes last, ready to copy."""
    blocks: list[Block] = []
    if advice := instead(verdicts):
        blocks += [tree.Callout(text, _TONES.get(ending(verdicts), "neutral")) for text in advice]
    if verdicts.findings:
        blocks += [tree.Heading(say("cure.section.fault")), *map(finding_card, verdicts.findings)]
    if verdicts.verdicts:
        blocks += [tree.Heading(say("cure.section.proof")), verdict_table(verdicts)]
    if whole:
        blocks += _figures(verdicts)
    if verdicts.raced:
        blocks += [tree.Heading(say("cure.section.race")), raced_table(verdicts.raced, max(verdicts.seeds) + 1)]
    if verdicts.untried:
        blocks += [tree.Heading(say("cure.section.untried")), untried_table(verdicts.untried)]
    if verdicts.best and verdicts.best.patch:
        blocks += [tree.Heading(say("cure.section.patch")), tree.Code(verdicts.best.patch.strip())]
    return Document(headline(verdicts, target, then), current_language(), tuple(blocks), judged_by(verdicts))


def judged_by(verdicts: Verdicts) -> str:
    """Seeds, steps, metric and what the search cost."""
    seeds = ", ".join(map(str, verdicts.seeds))
    text = say("cure.judged", seeds=seeds, steps=verdicts.steps, metric=metric_name(verdicts))
    return f"{text} {say('cure.cost', cost=verdicts.cost, seconds=f'{verdicts.seconds:.0f}')}"


def _figures(verdicts: Verdicts) -> list[Block]:
    from undertow.report.figures import race, trials

    found: list[Block] = []
    if any(verdicts.control_curves):
        caption = say("cure.trials_caption")
        found.append(tree.Figure(trials(verdicts), caption, caption))
    if any(lane.metrics for lane in verdicts.raced):
        caption = say("cure.race_caption", seed=max(verdicts.seeds) + 1)
        found.append(tree.Figure(race(verdicts), caption, caption))
    return found
