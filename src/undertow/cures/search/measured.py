"""What a search hands to its race: a way to train, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from undertow.cures.cure import Cure
from undertow.cures.search.race import Lane, Measure, standing
from undertow.cures.trials.engine import Engine
from undertow.cures.trials.trial import Trial
from undertow.foundation import Finding


class Measured(Measure):
    """The race's trainings, on the seeds after those of the proof."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine, self._seed = engine, seed

    def __call__(self, cures: Sequence[Cure], until: int, draw: int) -> list[Trial]:
        trials = self._engine.part(cures, until, self._seed + draw)
        self._engine.release(cures, self._seed + draw)
        return trials


def worst_first(control: Iterable[Trial]) -> list[Finding]:
    """What the first seed shows, and of each further one what is new in kind or cause: a fault that sits in another
    layer with another seed is one fault."""
    found: list[Finding] = []
    for trial in control:
        known = {(f.kind, f.cause) for f in found}
        found += [f for f in trial.findings or () if (f.kind, f.cause) not in known]
    return sorted(found, key=lambda f: f.severity != "critical")


def lanes_of(engine: Engine) -> list[Lane]:
    """Of a race that was broken off, best first."""
    lanes: dict[str, Lane] = {}
    for task, trial in engine.answers.values():
        if task.until and task.cure:
            lane = lanes.setdefault(task.key[0], Lane(task.cure))
            lane.metrics[task.until], lane.reason = trial.metric, trial.reason or trial.refused
    return sorted(lanes.values(), key=standing)
