"""Ends a run that is doomed: judged while it lasts, stopped after a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from undertow.diagnosis.judge import judge
from undertow.foundation import Finding, InputError
from undertow.foundation.vocabulary import Severity
from undertow.record import Recording, Snapshot
from undertow.record.recording import Event

SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
"""What may stop a run; the second stops for either."""
FIRST = 5
"""Steps that are left to a run before it is stopped for anything but NaN: a fault that is there at the start is told
from the noise of one batch."""
SHARE = 0.02
"""Share of the run's time that judging may take where the budget sets no bound."""


class Stop:
    """A sink of recordings: judges them as steps are measured, and raises once an optimizer has stepped.

    A finding stops the run when two judgements in a row make it, or when the gradient is no longer finite.
    """

    def __init__(self, severity: Severity, end: Callable[[Finding], BaseException], share: float | None = None) -> None:
        """`end` makes what is raised out of `optimizer.step()`; `share` of the time may be spent on judging."""
        self._grave = SEVERITIES[: SEVERITIES.index(severity) + 1]
        self._end, self._share = end, share or SHARE
        self._seen: dict[int, frozenset[tuple[str, str]]] = {}
        self._next = 0.0
        self.found: Finding | None = None
        """For what the run is stopped."""
        self._handle: Any = register_optimizer_step_post_hook(self._stepped)

    def add(self, recording: Recording, event: Event) -> None:
        """Judges the recording; inside of what the budget counts."""
        if not isinstance(event, Snapshot) or self.found is not None:
            return
        began = time.perf_counter()
        broke = not all(math.isfinite(s.gradient_norm) for s in recording.steps[-1:])
        if event.step >= FIRST and began < self._next and not broke:
            return
        self._judge(recording, broke)
        spent = time.perf_counter() - began
        self._next = began + spent / self._share

    def _judge(self, recording: Recording, broke: bool) -> None:
        grave = [f for f in judge(recording).findings if f.severity in self._grave]
        before = self._seen.get(id(recording), frozenset())
        self._seen[id(recording)] = frozenset((f.kind, f.where) for f in grave)
        for finding in grave:
            lasting = recording.steps_seen >= FIRST and (finding.kind, finding.where) in before
            if lasting or broke:
                self.found = finding
                return

    def _stepped(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self.found is not None:
            self.close()
            raise self._end(self.found)

    def close(self) -> None:
        self._handle.remove()


def checked(severity: str) -> Severity:
    """Raises InputError where the severity is none that can stop a run."""
    for known in SEVERITIES:
        if severity == known:
            return known
    raise InputError(f"stop_on={severity!r}", "'critical' or 'warning'", "stop_on='critical'")
