"""Targets that no output of the last activation can equal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH, TERMS
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording

CURES: dict[Cause, tuple[str, ...]] = {"loss": ("linear_output", "standardise_targets")}
WIDTHS = {"sigmoid": 1.0, "softmax": 1.0, "tanh": 2.0, "hardtanh": 2.0, "hardsigmoid": 1.0}
"""From the smallest to the largest value of an activation: no error of a target that it can reach is larger."""


@rule
@dataclass(frozen=True)
class OutOfReach(Rule):
    """The targets lie outside of the range of the output's activation: a sigmoid's output for targets up to 500.

    What
    ----
    A squared error of what a sigmoid, a tanh or a softmax gives, with an error so large that no target in the
    activation's range can have made it.

    Why it hurts
    ------------
    The output is pushed to the end of its range, where its derivative goes to 0, and stays there.

    Evidence
    --------
    The mean squared error as loss and gradient of one step tell it together, whatever the loss is multiplied with: of
    L = c Σ e² and g = 2 c e it is 4 L² / (N Σ g²).

    Counter-evidence
    ----------------
    An output that is scaled and shifted to the targets' range behind its activation.

    Cures
    -----
    No activation at the output; or targets that are scaled into its range.

    References
    ----------
    LeCun, Bottou, Orr & Müller (1998), Efficient BackProp, 4.5 (targets within the range of the sigmoid).
    """

    kind = "loss_mismatch"
    needs = (PATH, TERMS)

    slack: float = 1e-3
    """Origin: rounding of float32 sums over a batch, with room; half precision rounds to 1e-3."""

    hopeless: float = 2.0
    """Origin: of an error of twice the range at least half stays, which is a quarter of the loss (derived)."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        wiring = recording.wiring
        assert wiring is not None
        ledger = recording.snapshots[0].ledger
        term, path = wiring.terms[0], ledger.path
        entry = path[-1] if path else None
        if entry is None or term.operations != ("mse_loss", entry.site.operation) or not entry.backward.rms > 0:
            return
        width = WIDTHS.get(entry.site.operation)
        error = 2 * term.value / (entry.backward.count * entry.backward.rms)
        if width is None or not math.isfinite(error) or error <= width * (1 + self.slack):
            return
        yield Finding(
            kind="loss_mismatch",
            severity="critical" if error > self.hopeless * width else "warning",
            cause="loss",
            where=entry.site.label,
            step=recording.snapshots[0].step,
            evidence=(Evidence("target_error", error, None, width, "range_of_output"),),
            cures=CURES["loss"],
            values={"act": entry.site.operation, "error": error, "width": width},
            rule=self.name,
        )

    @staticmethod
    def sick() -> Example:
        return _regression(scale=20.0)

    @staticmethod
    def healthy() -> Example:
        return _regression(scale=1.0)


def _regression(scale: float) -> Example:
    """A sigmoid's output for targets from 0 to `scale`."""
    model = nn.Sequential(mlp("tanh", depth=1, gain=1.0), nn.Sigmoid())

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return 3 * F.mse_loss(output, F.one_hot(target, 4) * scale)

    return Example(model, torch.optim.SGD(model.parameters(), 0.05), loss, classify(model).batches)
