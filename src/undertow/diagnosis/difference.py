"""What changed between two runs: their settings, findings, losses, and each site."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from undertow.diagnosis.diagnosis import Diagnosis
from undertow.foundation import Finding
from undertow.record import Entry, Ledger, Recording, Snapshot

SCATTERS = 3.0
"""Standard deviations of one run's own steps by which two medians must differ to count as changed: steps follow each
other, and a median of a few near ones is hardly surer than one of them."""
LEAST = 1.1
"""A factor below it is not worth a line, however sure."""
NORMAL = 1.4826
"""Median absolute deviation of a normal distribution, into its standard deviation."""
FEWEST = 5
"""Measured steps at the end of a run that tell how its steps scatter, where its last half has fewer."""

Measure = Literal["forward", "backward", "factor", "slope", "update"]
SUFFIX = ".undertow"
ABOUT = ("command", "commit", "dirty", "python", "torch", "host", "devices", "threads", "variables")
"""Facts of a run in which a cause of the change may lie."""


@dataclass(frozen=True)
class Size:
    """One measure at one place in one run: the median over measured steps, and how these scatter."""

    value: float
    scatter: float
    """Standard deviation of ln(value) over the steps; NaN of a single one."""


@dataclass(frozen=True)
class Change:
    """One measure at one place, in both runs."""

    measure: Measure
    place: str
    """A site's label, or a parameter's name."""
    before: Size
    after: Size

    @property
    def ratio(self) -> float:
        """After over before."""
        if self.before.value == self.after.value:
            return 1.0
        return self.after.value / self.before.value if self.before.value else math.inf

    @property
    def sure(self) -> bool:
        """Whether it is more than the steps of the runs scatter; of a single step each, whether it is any change."""
        size = abs(math.log(self.ratio)) if 0 < self.ratio < math.inf else math.inf
        scatter = math.hypot(*(s for s in (self.before.scatter, self.after.scatter) if not math.isnan(s)))
        return size >= math.log(LEAST) and size > SCATTERS * scatter


@dataclass(frozen=True)
class Difference:
    """Two runs of what may be one model; the first is what the second is compared with."""

    facts: Mapping[str, tuple[str, str]]
    """What differs of command, commit, versions, machine, optimizer and learning rate: before and after."""
    appeared: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    stayed: tuple[Finding, ...]
    """As the second run has them."""
    only_before: tuple[str, ...]
    """Sites that the second run does not have."""
    only_after: tuple[str, ...]
    start: tuple[Change, ...]
    """At the first measured step of both, in the order of the forward pass."""
    late: tuple[Change, ...]
    """In the last half of each run."""
    loss: tuple[float, float]
    """The median of the last tenth of each run's losses; NaN where none was seen."""
    steps: tuple[int, int]

    @property
    def worse(self) -> bool:
        """Whether there is a fault above a note that was not there before."""
        return any(f.severity != "note" for f in self.appeared)

    @property
    def changed(self) -> bool:
        """Whether anything but the steps' own scatter differs."""
        sure = any(c.sure for c in (*self.start, *self.late))
        return bool(sure or self.appeared or self.gone or self.only_before or self.only_after)


def difference(
    before: Diagnosis, after: Diagnosis, facts: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
) -> Difference:
    """Sets two diagnosed runs beside each other; `facts` are their environments, as a run file has them.

    Backward sizes are those over the last site's, so that another scale of the loss is no change.
    """
    first, second = _recording(before), _recording(after)
    old, new = ({e.site.label for s in r.snapshots for e in s.ledger} for r in (first, second))
    found = {(f.kind, f.where): f for f in after.findings}
    known = {(f.kind, f.where): f for f in before.findings}
    return Difference(
        _facts(first, second, *facts),
        tuple(f for key, f in found.items() if key not in known),
        tuple(f for key, f in known.items() if key not in found),
        tuple(f for key, f in found.items() if key in known),
        tuple(e.site.label for e in before.first_ledger if e.site.label not in new),
        tuple(e.site.label for e in after.first_ledger if e.site.label not in old),
        tuple(_changes(_sizes(first, first.snapshots[:1]), _sizes(second, second.snapshots[:1]))),
        tuple(_changes(_sizes(first, _late(first)), _sizes(second, _late(second)))),
        (_loss(before), _loss(after)),
        (before.steps, after.steps),
    )


def _recording(diagnosis: Diagnosis) -> Recording:
    return diagnosis.recording or Recording(snapshots=[Snapshot(0, diagnosis.ledger, 1)])


def _facts(
    first: Recording, second: Recording, old: Mapping[str, str], new: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    pairs = {key: (old.get(key, ""), new.get(key, "")) for key in ABOUT}
    pairs["command"] = _words(*pairs["command"])
    pairs["optimizer"] = (", ".join(first.optimizers), ", ".join(second.optimizers))
    pairs["learning_rate"] = (_rates(first), _rates(second))
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _words(old: str, new: str) -> tuple[str, str]:
    """The words of a command that the other one lacks; where each was written differs by right."""
    first, second = ([w for w in c.split() if not w.endswith(SUFFIX)] for c in (old, new))
    return " ".join(w for w in first if w not in second), " ".join(w for w in second if w not in first)


def _rates(recording: Recording) -> str:
    rates = [s.learning_rate for s in recording.steps if math.isfinite(s.learning_rate)]
    if not rates:
        return ""
    return f"{rates[0]:.4g}" if min(rates) == max(rates) else f"{min(rates):.4g} … {max(rates):.4g}"


def _loss(diagnosis: Diagnosis) -> float:
    losses = diagnosis.losses
    return median(losses[-max(len(losses) // 10, 1) :]) if losses else math.nan


Sizes = dict[tuple[Measure, str], Size]


def _changes(before: Sizes, after: Sizes) -> Iterator[Change]:
    """Of each place that both have, its measures."""
    for key, was in before.items():
        if (now := after.get(key)) is not None:
            yield Change(*key, was, now)


def _late(recording: Recording) -> list[Snapshot]:
    recent = recording.recent
    return recent if len(recent) >= FEWEST else recording.snapshots[-FEWEST:]


def _sizes(recording: Recording, snapshots: Iterable[Snapshot]) -> Sizes:
    values: dict[tuple[Measure, str], list[float]] = {}
    for snapshot in snapshots:
        for entry in snapshot.ledger:
            for measure, of in _MEASURES.items():
                values.setdefault((measure, entry.site.label), []).append(of(entry, snapshot.ledger))
        for name, parameter in snapshot.parameters.items():
            state = recording.parameters.get(name)
            if state is None or len(state.shape) > 1:  # a bias begins at 0, which no change is relative to
                values.setdefault(("update", name), []).append(parameter.relative_update)
    sizes = {key: [v for v in found if math.isfinite(v)] for key, found in values.items()}
    return {key: _size(found) for key, found in sizes.items() if found}


_MEASURES: dict[Measure, Callable[[Entry, Ledger], float]] = {
    "forward": lambda entry, _: entry.forward_rms,
    "backward": lambda entry, ledger: _over_last(entry, ledger),
    "factor": lambda entry, _: entry.factor if entry.previous else math.nan,
    "slope": lambda entry, _: entry.slope.rms if entry.slope else math.nan,
}


def _over_last(entry: Entry, ledger: Ledger) -> float:
    last = ledger.path[-1].backward_rms if ledger.path else 0.0
    return entry.backward_rms / last if last else math.nan


def _size(values: list[float]) -> Size:
    middle = median(values)
    logs = [math.log(v) for v in values if v > 0]
    if len(logs) < 2 or middle <= 0:
        return Size(middle, math.nan)
    centre = median(logs)
    return Size(middle, NORMAL * median(abs(x - centre) for x in logs))
