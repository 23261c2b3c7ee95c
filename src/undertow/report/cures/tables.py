"""The tables of a search: what was proven, what raced and stopped, what was not tried."""

from __future__ import annotations

import math
from collections.abc import Sequence

from undertow.cures import Verdict, Verdicts
from undertow.cures.search.race import Lane
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.report import document as tree
from undertow.report.document import Cell, Column, Number, Row, Table, Text
from undertow.report.metrics import metric_name

_TONES: dict[str, tree.Tone] = {"cured": "good", "helped": "good", "harmed": "bad"}
_NONE = "–"
_WORTH_TELLING = 0.05
"""A side effect of less than a twentieth is below what timing a few steps can tell (empirical)."""


def verdict_table(verdicts: Verdicts) -> Table:
    """One row a cure: outcome, metric before and after, the interval of the difference, its side effects."""
    columns = (
        Column(say("report.verdict.cure")),
        Column(say("report.verdict.outcome")),
        Column(say("report.verdict.before"), "right"),
        Column(say("report.verdict.after"), "right"),
        Column(say("report.verdict.interval"), "right"),
        Column(say("cure.effects.title")),
        Column(say("report.verdict.remarks")),
    )
    name = metric_name(verdicts)
    caption = say("report.verdict.caption", seeds=len(verdicts.seeds), steps=verdicts.steps, metric=name)
    return Table(columns, tuple(map(_verdict_row, verdicts)), caption, say("report.verdict.reading"))


def raced_table(raced: Sequence[Lane]) -> Table:
    """One row a lane, the one that came furthest first: until which step, its metric there, why it stopped."""
    columns = (
        Column(say("cure.raced.change")),
        Column(say("cure.raced.until"), "right"),
        Column(say("cure.raced.metric"), "right"),
        Column(say("cure.raced.end")),
    )
    furthest = max((lane.steps for lane in raced), default=0)
    return Table(columns, tuple(_lane_row(lane, furthest) for lane in raced), say("cure.raced.caption"))


def untried_table(untried: Sequence[tuple[str, str]]) -> Table:
    """What was not tried, once a reason."""
    labels: dict[str, list[str]] = {}
    for label, reason in untried:
        labels.setdefault(reason, []).append(label)
    columns = (Column(say("cure.raced.change")), Column(say("cure.untried.reason")))
    return Table(columns, tuple(Row((Text(", ".join(names), code=True), Text(why))) for why, names in labels.items()))


def _verdict_row(verdict: Verdict) -> Row:
    low, high = verdict.interval
    interval = f"{written(low)} … {written(high)}" if math.isfinite(low) and math.isfinite(high) else _NONE
    remaining = say("report.verdict.remaining", kinds=", ".join(verdict.remaining)) if verdict.remaining else ""
    return Row(
        (
            Text(verdict.cure, code=True),
            tree.Badge(verdict.says, _TONES.get(verdict.outcome, "neutral")),
            _metric_cell(verdict.before),
            _metric_cell(verdict.after),
            Text(interval),
            Text(_effects(verdict)),
            Text("; ".join(filter(None, (verdict.reason, remaining)))),
        )
    )


def _effects(verdict: Verdict) -> str:
    """What it costs besides; what it leaves as it was is not told."""
    found = verdict.effects
    if found is None:
        return ""
    ratios = {"parameters": found.parameters, "time": found.step_ratio, "memory": found.kept}
    return ", ".join(say(f"cure.effects.{name}", ratio=r) for name, r in ratios.items() if abs(r - 1) >= _WORTH_TELLING)


def _lane_row(lane: Lane, furthest: int) -> Row:
    end = lane.reason or say("cure.raced.finished" if lane.steps == furthest else "cure.raced.stopped")
    return Row((Text(lane.cure.label, code=True), Number(float(lane.steps)), _metric_cell(lane.last), Text(end)))


def _metric_cell(value: float) -> Cell:
    return Text(_NONE) if math.isnan(value) else Number(value)
