"""A value or a gradient is NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.finding import Evidence, Finding
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause
from undertow.record import Entry, Recording, Snapshot

CURES: dict[Cause, tuple[str, ...]] = {
    "input_scale": (),
    "activation": ("relu", "batch_norm"),
    "weights": ("matched_init", "batch_norm"),
    "graph": (),
    "loss": (),
    "learning_rate": ("learning_rate", "clip_norm", "adam"),
}


@rule
@dataclass(frozen=True)
class Nonfinite(Rule):
    """A value or a gradient is NaN or infinite.

    What
    ----
    The first tensor of the run with a value that is NaN or infinite: its site, forward or backward, and its step.

    Why it hurts
    ------------
    One NaN gradient makes every weight that the optimizer updates NaN.

    Evidence
    --------
    The count of such values at the first site, and how the gradient's norm came there.  The cause is the input where
    it already holds them; the learning rate where the first steps were finite; else the operation where they arise,
    by its kind: an activation that overflows, weights, or a derivative that is 0 · ∞ (graph) where the forward pass
    is finite.

    Counter-evidence
    ----------------
    A loss scaler that skips such a step on purpose while it looks for its scale.

    Cures
    -----
    Repair the data or the operation; where the steps were too long, a lower rate or clipping.

    References
    ----------
    Goldberg (1991), What every computer scientist should know about floating-point arithmetic.
    """

    kind = "nonfinite"
    explains = ("vanishing", "dead", "saturated")

    def check(self, recording: Recording) -> Iterator[Finding]:
        step = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
        found = next((f for s in recording.snapshots if (f := self._first(s)) is not None), None)
        if found is None and step is None:
            return
        snapshot, entry, forward = found or (recording.snapshots[-1], None, False)
        began = min(s for s in (step, snapshot.step if found else None) if s is not None)
        cause = self._cause(snapshot, entry, forward, began)
        reading = None if entry is None else entry.forward if forward else entry.backward
        yield Finding(
            kind="nonfinite",
            severity="critical",
            cause=cause,
            where=entry.site.label if entry else "",
            step=began,
            evidence=(
                Evidence("nonfinite_values", float(reading.nonfinite if reading else 1), None, 0.0, "finite"),
                Evidence(
                    "input_nonfinite", float(snapshot.inputs.nonfinite if snapshot.inputs else 0), None, 0.0, "finite"
                ),
                Evidence("finite_steps_before", float(began), None, None, ""),
            ),
            cures=CURES[cause],
            values={
                "count": reading.nonfinite if reading else 1,
                "of": reading.count if reading else 1,
                "operation": entry.site.operation if entry else "",
                "source": (entry.site.source if entry else None) or "",
                "norm": max(
                    (s.gradient_norm for s in recording.steps if math.isfinite(s.gradient_norm)), default=math.nan
                ),
                "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
            },
        )

    @staticmethod
    def _first(snapshot: Snapshot) -> tuple[Snapshot, Entry, bool] | None:
        """The first site with such a value in the order of computation: forwards first, then backwards."""
        for entry in snapshot.ledger:
            if entry.forward.nonfinite:
                return snapshot, entry, True
        for entry in reversed(snapshot.ledger.entries):
            if entry.backward.nonfinite:
                return snapshot, entry, False
        return None

    @staticmethod
    def _cause(snapshot: Snapshot, entry: Entry | None, forward: bool, began: int) -> Cause:
        if snapshot.inputs is not None and snapshot.inputs.nonfinite:
            return "input_scale"
        if began > 0:
            return "learning_rate"
        if entry is None:
            return "graph"
        hidden = forward and not snapshot.ledger.entries[-1].forward.nonfinite  # by a torch.where further on
        if hidden:
            return "graph"
        if not forward:
            return "loss" if entry.site == snapshot.ledger.entries[-1].site else "graph"
        return "activation" if entry.site.effect == "activation" else "weights"

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=2, he=True), inputs=float("inf"))

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=2, he=True), inputs=100.0, lr=1e-4)
