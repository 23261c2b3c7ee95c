"""Units whose derivative is exactly zero for every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.learning import learning
from undertow.diagnosis.needs import SLOPES
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.diagnosis.units import Units, followed
from undertow.foundation import Cause, Evidence, Finding, NotJudged
from undertow.record import Recording
from undertow.record.flow import layer_of

CURES: dict[Cause, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "clip_norm", "leaky_relu"),
    "weights": ("zero_bias", "revive", "matched_init", "batch_norm", "leaky_relu"),
    "activation": ("linear_output", "leaky_relu"),
    "depth": ("wider", "leaky_relu", "revive", "residual", "batch_norm", "matched_init"),
}


@rule
@dataclass(frozen=True)
class Dead(Rule):
    """Units of a layer are flat for all the data: no gradient passes, and none can revive them.

    What
    ----
    At least half of a layer's units have f′ = 0 for every sample that was seen, or since some step for every sample
    from there to the end.

    Why it hurts
    ------------
    A unit that is flat for every sample gets no gradient at its weights; a layer of such units cuts the net in two.

    Evidence
    --------
    The share of dead units per layer over all samples seen (not the share of zeros, which is ReLU's nature), whether
    they were dead in the first steps, and the mean and spread of what the layer was given.  How many samples it takes
    follows from chance: that units which fire for one sample in a hundred are silent in half of some layer of the
    model must be improbable, with as many layers as it has.  A unit that fired before counts as dead only if its
    silence is improbable at the rate at which it fired.  Whether a dead unit can recover is told by the gradient before
    the layer: as long as one arrives there, the layers before may still move into the unit's reach.

    Counter-evidence
    ----------------
    Too few samples: then the layer is not judged.  A model that explains a quarter of its targets all the same makes it
    a note: the units that are left are enough.

    Cures
    -----
    A lower rate or clipping where the units died in training; initial weights and biases where they were born dead;
    an activation with a slope below zero.

    References
    ----------
    Maas, Hannun & Ng (2013); Lu et al. (2019), arXiv:1903.06733 (born dead in deep and narrow nets).
    """

    kind = "dead"
    needs = (SLOPES,)

    share: float = 0.5
    """Origin: half of a layer's width lost; healthy ReLU layers lose up to a tenth (empirical)."""
    seldom: float = 0.01
    """Origin: a unit that fires for one sample in a hundred learns from a hundredth of the data."""
    chance: float = 0.05
    """Origin: the usual level of a test, here for all layers of the model together (Bonferroni)."""
    shifted: float = 2.0
    """Origin: a pre-activation two standard deviations below zero leaves 2 % of a normal input above it."""
    enough: float = 0.25
    """Origin: Cohen (1988) calls a correlation of one half between output and target a large effect; its square."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        judged = (e for e in recording.snapshots[-1].ledger if e.slope is not None and not e.slope.saturating)
        layers = [layer for entry in judged if (layer := followed(recording, entry, self.seldom, self.share))]
        silent = [layer for layer in layers if layer.dead >= self.share]
        dead = [layer for layer in silent if layer.by_chance(self.seldom) * len(layers) <= self.chance]
        if dead:
            yield self._finding(recording, dead)
        elif silent:
            yield NotJudged(self.name, self.kind, "few_samples", {"seen": silent[0].samples, "where": silent[0].label})

    def _finding(self, recording: Recording, dead: list[Units]) -> Finding:
        layer = next((one for one in dead if one.born >= self.share), dead[0])
        entry, first = layer.entry, recording.snapshots[0]
        cause = self._cause(recording, layer)
        before = next((e for e in first.ledger if e.site == entry.previous), None)
        now = next((e for e in recording.snapshots[-1].ledger if e.site == entry.previous), None)
        learned = learning(recording)
        explained = learned.share if learned else 0.0
        severity = "critical" if any(one.dead == 1.0 for one in dead) else "warning"
        return Finding(
            kind="dead",
            severity="note" if explained >= self.enough else severity,
            cause=cause,
            where=layer.label if cause == "activation" else layer_of(first.ledger, entry).site.label,
            step=min(one.since for one in dead),
            evidence=(
                Evidence("dead_share", layer.dead, None, self.share, "half_layer"),
                Evidence("dead_share_first", layer.born, None, self.share, "half_layer"),
                Evidence("silent_by_chance", min(layer.by_chance(self.seldom), 1.0), self.chance, None, "all_layers"),
                Evidence("gradient_before", now.backward_rms if now else 0.0, None, None, "recovers"),
            ),
            counter_evidence=(Evidence("explained", explained, None, self.enough, "enough_left"),),
            cures=CURES[cause],
            values={
                "share": layer.dead,
                "born": layer.born,
                "act": entry.slope.activation if entry.slope else "",
                "samples": layer.samples,
                "mean": before.forward.mean if before else 0.0,
                "std": before.forward.std if before else 0.0,
                "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
            },
            sites=tuple(one.label for one in dead),
        )

    def _cause(self, recording: Recording, layer: Units) -> Cause:
        last = recording.snapshots[-1].ledger
        if not any(e.site.effect == "weights" for e in last.entries[last.entries.index(layer.entry) :]):
            return "activation"
        if layer.born < layer.dead / 2:  # most of them have fired
            return "learning_rate"
        before = next((e for e in recording.snapshots[0].ledger if e.site == layer.entry.previous), None)
        if before is not None and before.forward.mean < -self.shifted * before.forward.std:
            return "weights"
        return "depth"

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=3, he=True, bias=-6.0), steps=20)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=2, he=True, bias=-1.0, width=256), steps=20)
