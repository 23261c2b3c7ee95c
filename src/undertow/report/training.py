"""What a report says of the training around the ledger: its stages, the optimizer's view, and how a fault came."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from undertow.foundation import say
from undertow.foundation.numbers import share, written
from undertow.record import Recording, Snapshot, StepReading
from undertow.record.recording import MARKS
from undertow.report.document import Bar, Block, Column, Heading, Number, Row, Table, Text
from undertow.report.sequences import time_table

CLIPPED = 1 - 1e-6
"""Below it a norm was clipped; above it is rounding."""
MOST_UPDATES = 12
"""Parameters in the table of updates: the ones that move the most and the least."""
USUAL = 1e-3
"""Origin: a rule of thumb; weights of a network that learns well change by about a thousandth a step."""
RING = 8
"""Measured steps before a fault that are shown."""


def run_table(recording: Recording) -> Table | None:
    """One line for each stage that a gradient went through on its way to the weights; None for a single batch."""
    if not recording.optimizers:
        return None
    lines = [(key, line) for key, of in _STAGES.items() if (line := of(recording))]
    rows = tuple(Row((Text(say(f"training.{key}.name")), Text(line))) for key, line in lines)
    return Table((Column(say("training.stage")), Column(say("training.seen"))), rows)


def _cost(recording: Recording) -> str:
    counts = {"steps": recording.steps_seen, "measured": recording.steps_measured}
    if recording.overhead is None:
        return say(
            "training.cost.whole" if recording.steps_measured >= recording.steps_seen else "training.cost.unknown",
            **counts,
        )
    total = share(recording.overhead, 1)
    if recording.overhead_later is None:
        return say("training.cost.share", share=total, **counts)
    return say("training.cost.later", share=total, later=share(recording.overhead_later, 1), **counts)


def _optimizers(recording: Recording) -> str:
    rates = [s.learning_rate for s in recording.steps if math.isfinite(s.learning_rate)]
    names = ", ".join(recording.optimizers)
    if not rates:
        return names
    key = "constant" if min(rates) == max(rates) else "range"
    return say(f"training.optimizers.{key}", names=names, low=min(rates), high=max(rates), last=rates[-1])


def _passes(recording: Recording) -> str:
    passes = [s.passes for s in recording.steps if not s.skipped]
    if not passes or max(passes) <= 1:
        return ""
    return say("training.passes.line", passes=str(min(passes)) if min(passes) == max(passes) else _span(passes))


def _span(values: Sequence[int]) -> str:
    return f"{min(values)} … {max(values)}"


def _scale(recording: Recording) -> str:
    scales = [s.loss_scale for s in recording.steps]
    if not scales or max(scales) == min(scales) == 1.0:
        return ""
    return say("training.scale.line", first=scales[0], last=scales[-1])


def _skipped(recording: Recording) -> str:
    last = max(recording.skipped, default=0)
    count, of = recording.marked("skipped"), recording.steps_read
    return say("training.skipped.line", count=count, of=of, last=last) if count else ""


def _clipping(recording: Recording) -> str:
    clipped, left = clipping(recording)
    return say("training.clipping.line", share=share(clipped), left=share(left, _digits(left))) if clipped else ""


def clipping(recording: Recording) -> tuple[float, float]:
    """The share of the steps that were clipped, and to what share of the norm: their geometric mean."""
    steps = [s for s in recording.steps if not s.skipped]
    ratios = [s.clip_ratio for s in steps if s.unclipped_norm and 0 < s.clip_ratio < CLIPPED]
    return (len(ratios) / len(steps), math.exp(sum(map(math.log, ratios)) / len(ratios))) if ratios else (0.0, 1.0)


def _digits(value: float) -> int:
    return max(0, -math.floor(math.log10(value)) - 2)


def _late(recording: Recording) -> str:
    late = recording.marked("changed_late")  # seen in the step after a measured one
    return say("training.late.line", count=late, of=recording.steps_measured) if late else ""


def _carried(recording: Recording) -> str:
    carried = recording.marked("carried")
    return say("training.carried.line", count=carried, of=recording.steps_read) if carried else ""


def _ranks(recording: Recording) -> str:
    stage = recording.snapshots[-1].stage
    return say("training.ranks.line", ranks=stage.ranks, rank=stage.rank) if stage.ranks > 1 else ""


def _eager(recording: Recording) -> str:
    return say("training.eager.line") if any(s.stage.eager for s in recording.snapshots) else ""


def _parameters(recording: Recording) -> str:
    counts = {k: sum(p.status == k for p in recording.parameters.values()) for k in ("frozen", "unused", "zero")}
    found = [say(f"training.parameters.{k}", count=n) for k, n in counts.items() if n]
    tied = [" = ".join((name, *others)) for name, others in recording.tied.items()]
    return " ".join([*found, *(say("training.parameters.tied", names=t) for t in tied)])


_STAGES: dict[str, Callable[[Recording], str]] = {
    "optimizers": _optimizers,
    "passes": _passes,
    "scale": _scale,
    "skipped": _skipped,
    "clipping": _clipping,
    "late": _late,
    "carried": _carried,
    "ranks": _ranks,
    "eager": _eager,
    "parameters": _parameters,
    "cost": _cost,
}


def updates(recording: Recording) -> dict[str, float]:
    """rms(Δw) / rms(w) per weight, the median of the last half of the run."""
    ratios: dict[str, list[float]] = {}
    for snapshot in recording.recent:
        for name, parameter in snapshot.parameters.items():
            if math.isfinite(parameter.relative_update) and _is_weight(recording, name):
                ratios.setdefault(name, []).append(parameter.relative_update)
    return {name: median(found) for name, found in ratios.items()}


def updates_table(recording: Recording) -> Table | None:
    """The largest and the smallest updates."""
    sizes = sorted(((size, name) for name, size in updates(recording).items()), reverse=True)
    if not sizes:
        return None
    half = MOST_UPDATES // 2
    shown = sizes if len(sizes) <= MOST_UPDATES else [*sizes[:half], *sizes[-half:]]
    positive = [s for s, _ in shown if s > 0] or [USUAL]
    low, high = min(*positive, USUAL) / 3, max(*positive, USUAL)
    rows = tuple(Row((Text(name, code=True), Bar(size, low, high, 2), _against_usual(size))) for size, name in shown)
    left = say("training.updates.left_out", count=len(sizes) - len(shown)) if len(shown) < len(sizes) else ""
    columns = (
        Column(say("training.updates.parameter")),
        Column(say("training.updates.relative")),
        Column(say("training.updates.usual"), "right"),
    )
    note = " ".join(filter(None, (left, say("training.updates.reading", usual=written(USUAL)))))
    return Table(columns, rows, say("training.updates.caption"), note)


def _is_weight(recording: Recording, name: str) -> bool:
    """Whether it is a matrix: biases start at 0, which no change is relative to."""
    state = recording.parameters.get(name)
    return state is None or len(state.shape) > 1


def _against_usual(size: float) -> Number:
    return Number(size / USUAL, 2, times=True)


def approach_table(recording: Recording, step: int) -> Table | None:
    """The measured steps that led to one: gradient, and the largest value of the forward pass with its site."""
    before = [s for s in recording.snapshots if s.step <= step and s.ledger.entries][-RING:]
    if len(before) < 2:
        return None
    norms = {s.step: s for s in recording.steps}
    columns = (
        Column(say("training.approach.step"), "right"),
        Column(say("training.approach.gradient"), "right"),
        Column(say("training.approach.largest"), "right"),
        Column(say("training.approach.site")),
    )
    return Table(columns, tuple(_approach_row(s, norms.get(s.step)) for s in before), say("training.approach.caption"))


def _approach_row(snapshot: Snapshot, step: StepReading | None) -> Row:
    # a layer with no finite value left is the largest of all
    entry = max(snapshot.ledger, key=lambda e: math.inf if e.forward.nonfinite else e.forward.max)
    return Row(
        (
            Text(str(snapshot.step)),
            Number(step.gradient_norm if step else math.nan),
            Number(math.nan if entry.forward.nans else math.inf if entry.forward.infs else entry.forward.max),
            Text(entry.site.label, code=True),
        )
    )


def attention_table(snapshot: Snapshot) -> Table | None:
    """Per attention, the size of its logits and how sharply it looks."""
    if not snapshot.attention:
        return None
    columns = [Column(say("training.attention.site"))]
    columns += [Column(say(f"training.attention.{k}"), "right") for k in ("rms", "max", "entropy", "largest")]
    rows = tuple(
        Row((Text(site, code=True), Number(a.logits.rms), Number(a.logits.max), Number(a.entropy), Number(a.largest)))
        for site, a in snapshot.attention.items()
    )
    return Table(tuple(columns), rows, say("training.attention.caption"), say("training.attention.reading"))


def figures_of(recording: Recording) -> dict[str, Any]:
    """What these tables are made of, as numbers."""
    clipped, left = clipping(recording)
    steps, last = recording.steps, recording.snapshots[-1]
    return {
        "origin": recording.origin,
        "optimizers": recording.optimizers,
        "passes": max((s.passes for s in steps), default=1),
        "loss_scale": steps[-1].loss_scale if steps else 1.0,
        "clipped_share": clipped,
        "clip_ratio": left,
        **{mark: recording.marked(mark) for mark in MARKS},
        "ranks": last.stage.ranks,
        "eager": any(s.stage.eager for s in recording.snapshots),
        "overhead_later": recording.overhead_later,
        "parameters": {name: state.status for name, state in recording.parameters.items()},
        "tied": recording.tied,
        "updates": updates(recording),
        "attention": last.attention,
    }


def sections(recording: Recording) -> Iterator[Block]:
    """The blocks that follow the ledger."""
    attending = next((s for s in reversed(recording.snapshots) if s.attention), recording.snapshots[-1])
    tables = {
        "run": run_table(recording),
        "updates": updates_table(recording),
        "time": time_table(recording),
        "attention": attention_table(attending),
    }
    for key, table in tables.items():
        if table is not None:
            yield Heading(say(f"training.section.{key}"))
            yield table
