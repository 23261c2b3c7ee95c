"""The search before the proof: what is prescribed, raced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from undertow.cures.cure import Cure, chosen
from undertow.cures.search.changes import RATE, Parts, fits, joined, parts, rated, spread, usual, variants
from undertow.cures.search.prescription import Prescribed, prescribe
from undertow.cures.search.race import Lane, Measure, race
from undertow.cures.training import Training
from undertow.diagnosis import Finding

DECADES = 4
"""How far a rate is looked for where the finding charges the rate itself."""


@dataclass(frozen=True)
class Contest:
    lanes: tuple[Lane, ...]
    """Best first; those that failed are last."""
    untried: tuple[Prescribed, ...]
    """Cures that are meant for the findings and were not raced, alone or with others."""


def contest(
    fresh: Callable[[], Training], findings: Iterable[Finding], measure: Measure, steps: int, trainings: float
) -> Contest:
    """Race what is prescribed for these findings, for at most so many whole trainings."""
    findings, training = list(findings), fresh()
    prescribed = prescribe(training, findings)
    repairs = _repairs(prescribed, findings)
    if repairs:
        training = repairs[0].apply(training)
        known = {p.cure.label for p in prescribed}
        prescribed += [p for p in prescribe(training, findings, repaired=True) if p.cure.label not in known]
    networks = [p.cure for p in prescribed if p.cure.changes_network and not p.refused]

    def more(leaders: list[Cure]) -> Iterator[Cure]:
        """Of each leader in turn."""
        for row in zip_longest(*(variants(training, leader, networks) for leader in leaders)):
            yield from (joined(one) for one in row if one)

    first = [joined(plan) for plan in plans(training, findings, prescribed, repairs)]
    lanes = race(first, measure, steps, trainings, more)
    raced = {part.label for lane in lanes for part in parts(lane.cure)}
    return Contest(tuple(lanes), tuple(p for p in prescribed if p.cure.label not in raced))


def plans(
    training: Training, findings: Sequence[Finding], prescribed: Sequence[Prescribed], repairs: Sequence[Cure]
) -> list[Parts]:
    """The changes to start from, the most promising first: of the network, as it is handled and as is usual for any
    network, and of the handling alone.  Those early in both lists come first.  A repair goes along with all of them:
    without it nothing else can help."""
    base = tuple(repairs[:1])
    networks = spread(p.cure for p in prescribed if p.promising and p.cure.changes_network and fits(p.cure, base))
    handlings = [(p.cure,) for p in prescribed if not p.refused and not p.cure.changes_network]
    handlings += rates(training, findings)
    handlings += [u for u in usual(training) if u not in handlings]
    owns = [(), *usual(training)]
    ranked = [(i + j, (*base, network, *own)) for i, network in enumerate(networks) for j, own in enumerate(owns)]
    ranked += [(j, (*base, *handling)) for j, handling in enumerate(handlings)]
    ranked += [(i, (repair,)) for i, repair in enumerate(repairs)]
    return [plan for _, plan in sorted(ranked, key=lambda r: (r[0], len(r[1])))]


def _repairs(prescribed: Iterable[Prescribed], findings: Iterable[Finding]) -> list[Cure]:
    """What mends the graph or the loss, as the findings name it."""
    named = {name for f in findings if f.cause in ("graph", "loss") for name in f.cures}
    return [p.cure for p in prescribed if p.promising and p.cure.changes_network and p.cure.name in named]


def rates(training: Training, findings: Sequence[Finding]) -> list[Parts]:
    """Decades of rates, where a finding charges the rate."""
    if chosen(RATE)[0].applies(training):
        return []
    charged = {f.kind for f in findings if f.cause == "learning_rate"}
    sign = (1,) * ("too_small_lr" in charged) + (-1,) * bool(charged - {"too_small_lr"})
    return [rated((), 10.0 ** (s * k)) for k in range(2, DECADES + 1) for s in sign]
