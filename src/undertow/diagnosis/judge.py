"""From a recording to a diagnosis: every rule is asked, then symptoms are folded into their causes."""

from __future__ import annotations

from undertow.diagnosis.finding import Diagnosis, Finding
from undertow.diagnosis.rule import all_rules
from undertow.foundation import NothingObservedError
from undertow.record import Recording

ORDER = {"critical": 0, "warning": 1, "note": 2}


def judge(recording: Recording) -> Diagnosis:
    """The diagnosis of a recording.  Raises NothingObservedError where no backward pass was measured."""
    if not recording.snapshots:
        reasons = "; ".join(map(str, recording.not_observed.values()))
        raise NothingObservedError(
            "a run in which no backward pass was seen" + (f" ({reasons})" if reasons else ""),
            "at least one step of: model(inputs) in training mode, loss.backward(), optimizer.step()",
            "put the training loop inside `with ut.watch(model) as run:`, after model.train()",
        )
    findings = [f for rule in all_rules() for f in rule.check(recording)]
    return Diagnosis(
        findings=tuple(sorted(root_causes(findings), key=lambda f: (ORDER[f.severity], f.step))),
        ledger=recording.snapshots[-1].ledger,
        first_ledger=recording.snapshots[0].ledger,
        not_observed=tuple(recording.not_observed.values()),
        steps=recording.steps_seen,
        measured=recording.steps_measured,
        overhead=recording.overhead,
        losses=tuple(reading.value for reading in recording.losses),
    )


def root_causes(findings: list[Finding]) -> list[Finding]:
    """Drops a finding that another one explains: several symptoms of one cause are one finding.

    A finding explains those kinds that its rule names if it began no later.  Where two explain each other, the one
    whose rule comes first in the order of the rules' precedence stays.
    """
    explains = {rule.kind: rule.explains for rule in all_rules()}
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.step, PRECEDENCE.index(f.kind))):
        if not any(finding.kind in explains[earlier.kind] for earlier in kept):
            kept.append(finding)
    return kept


PRECEDENCE = (
    "exploding",
    "nonfinite",
    "dead",
    "saturated",
    "vanishing",
    "disconnected",
    "symmetric",
    "loss_mismatch",
    "unstable_lr",
    "too_small_lr",
)
"""Among findings of one step: what can make the later ones is judged first."""
