"""Units whose derivative is exactly zero for every sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Snapshot

CURES: dict[Cause, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "clip_norm", "leaky_relu"),
    "weights": ("matched_init", "batch_norm", "leaky_relu"),
    "activation": ("leaky_relu",),
    "depth": ("leaky_relu", "batch_norm", "matched_init"),
}


@rule
@dataclass(frozen=True)
class Dead(Rule):
    """Units of a layer are flat for all the data: no gradient passes, and none can revive them.

    What
    ----
    At least half of a layer's units have f′ = 0 for every sample of all measured steps in the last half of the run.

    Why it hurts
    ------------
    A unit that is flat for every sample gets no gradient at its weights; a layer of such units cuts the net in two.

    Evidence
    --------
    The share of dead units per layer over all samples seen (not the share of zeros, which is ReLU's nature), whether
    they were dead in the first steps, and the mean and spread of what the layer was given.

    Counter-evidence
    ----------------
    Too few samples: a unit that fires for one sample in a hundred looks dead in a small batch.

    Cures
    -----
    A lower rate or clipping where the units died in training; initial weights and biases where they were born dead;
    an activation with a slope below zero.

    References
    ----------
    Maas, Hannun & Ng (2013); Lu et al. (2019), arXiv:1903.06733 (born dead in deep and narrow nets).
    """

    kind = "dead"

    share: float = 0.5
    """Origin: half of a layer's width lost; healthy ReLU layers lose up to a tenth (empirical)."""
    samples: int = 300
    """Origin: rule of three, a unit silent for 300 samples fires for less than 1 % of the data (95 %)."""
    shifted: float = 2.0
    """Origin: a pre-activation two standard deviations below zero leaves 2 % of a normal input above it."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        late = recording.recent
        seen = sum(s.samples for s in late)
        last = late[-1].ledger
        for entry in last:
            if entry.slope is None or entry.slope.saturating or entry.site.name not in late[-1].alive:
                continue
            dead = self._share(late, entry)
            if dead == 1.0 or (dead >= self.share and seen >= self.samples):
                yield self._finding(recording, entry, dead, seen)
                return

    @staticmethod
    def _share(snapshots: Iterable[Snapshot], entry: Entry) -> float:
        masks: list[Tensor] = [s.alive[entry.site.name] for s in snapshots if entry.site.name in s.alive]
        masks = [m for m in masks if m.shape == masks[-1].shape]
        return 1.0 - torch.stack(masks).any(0).float().mean().item() if masks else 0.0

    def _finding(self, recording: Recording, entry: Entry, dead: float, seen: int) -> Finding:
        born = self._share(recording.snapshots[:5], entry)
        cause = self._cause(recording, entry, born)
        before = next((e for e in recording.snapshots[0].ledger if e.site == entry.previous), None)
        values = {
            "share": dead,
            "born": born,
            "act": entry.slope.activation if entry.slope else "",
            "samples": seen,
            "mean": before.forward.mean if before else 0.0,
            "std": before.forward.std if before else 0.0,
            "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
        }
        return Finding(
            kind="dead",
            severity="critical" if dead == 1.0 else "warning",
            cause=cause,
            where=entry.site.label,
            step=recording.snapshots[0].step if born >= self.share else self._since(recording, entry),
            evidence=(
                Evidence("dead_share", dead, None, self.share, "half_layer"),
                Evidence("dead_share_first", born, None, self.share, "half_layer"),
                Evidence("samples_seen", float(seen), float(self.samples), None, "rule_of_three"),
            ),
            cures=CURES[cause],
            values=values,
        )

    def _cause(self, recording: Recording, entry: Entry, born: float) -> Cause:
        last = recording.snapshots[-1].ledger
        if last.path and last.path[-1].site == entry.site:
            return "activation"
        if born < self.share:
            return "learning_rate"
        before = next((e for e in recording.snapshots[0].ledger if e.site == entry.previous), None)
        if before is not None and before.forward.mean < -self.shifted * before.forward.std:
            return "weights"
        return "depth"

    def _since(self, recording: Recording, entry: Entry) -> int:
        """The first measured step from which on half of the units stay dead."""
        for index, snapshot in enumerate(recording.snapshots):
            if self._share(recording.snapshots[index:], entry) >= self.share:
                return snapshot.step
        return recording.snapshots[-1].step

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=3, he=True, bias=-6.0), steps=20)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=2, he=True, bias=-1.0, width=256), steps=20)
