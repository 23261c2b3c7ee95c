"""From a recording to a diagnosis: every rule is asked, then symptoms are folded into their causes."""

from __future__ import annotations

from dataclasses import replace

from undertow.diagnosis.diagnosis import Diagnosis
from undertow.diagnosis.rule import all_rules
from undertow.foundation import Finding, NothingObservedError
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
    judged = without_skipped(recording)
    findings = [f for rule in all_rules() for f in rule.check(judged)]
    return Diagnosis(
        findings=tuple(sorted(root_causes(findings), key=lambda f: (ORDER[f.severity], f.step))),
        ledger=recording.snapshots[-1].ledger,
        first_ledger=recording.snapshots[0].ledger,
        not_observed=tuple(recording.not_observed.values()),
        steps=recording.steps_seen,
        measured=recording.steps_measured,
        overhead=recording.overhead,
        losses=tuple(reading.value for reading in recording.losses),
        recording=recording,
    )


def without_skipped(recording: Recording) -> Recording:
    """The recording as rules see it: without the steps that updated nothing.

    A loss scaler skips steps until it has found its scale, and a loop may leave out a batch: both train on.  Where
    most of the last half of the run is skipped nothing trains, and the steps count as those of any other run.
    """
    skipped = recording.skipped
    if not skipped:
        return recording
    late = [s.skipped for s in recording.steps if s.step >= recording.last_step / 2]
    snapshots = [s for s in recording.snapshots if s.step not in skipped]
    if 2 * sum(late) > len(late):
        return replace(recording, steps=[replace(s, skipped=False) for s in recording.steps], sinks=[])
    return replace(
        recording,
        steps=[s for s in recording.steps if not s.skipped],
        snapshots=snapshots or recording.snapshots,
        sinks=[],
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
