"""What a search hands to its race: a way to train, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from undertow.cures.cure import Cure
from undertow.cures.search.race import Measure
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
    """Each kind and place once."""
    found = {(f.kind, f.where): f for trial in reversed(list(control)) for f in trial.findings or ()}
    return sorted(found.values(), key=lambda f: f.severity != "critical")
