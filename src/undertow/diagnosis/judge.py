"""From a recording to a diagnosis: every rule is asked, then symptoms are folded into their causes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import replace

from undertow.diagnosis.causes import root_causes
from undertow.diagnosis.diagnosis import Diagnosis
from undertow.diagnosis.rule import Rule, all_rules
from undertow.foundation import Finding, NothingObservedError, NotJudged
from undertow.foundation.warn import warn
from undertow.record import Recording, StepReading

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
    findings, unjudged = asked(all_rules(), judged)
    return Diagnosis(
        findings=tuple(sorted(root_causes(findings, judged), key=lambda f: (ORDER[f.severity], f.step))),
        ledger=recording.snapshots[-1].ledger,
        first_ledger=recording.snapshots[0].ledger,
        not_observed=tuple(recording.not_observed.values()),
        not_judged=tuple(unjudged),
        steps=recording.steps_seen,
        measured=recording.steps_measured,
        overhead=recording.overhead,
        losses=tuple(reading.value for reading in recording.losses),
        recording=recording,
    )


def asked(rules: Iterable[Rule], recording: Recording) -> tuple[list[Finding], list[NotJudged]]:
    """What the rules say of a recording, and which of them lacked what they need."""
    findings: list[Finding] = []
    unjudged: list[NotJudged] = []
    for rule in rules:
        missing = next((need for need in rule.needs if not need.met(recording)), None)
        if missing is not None:
            if all(need.concerns(recording) for need in rule.needs):
                unjudged.append(NotJudged(rule.name, rule.kind, missing.name, missing.values))
            continue
        try:
            said = list(rule.check(recording))
        except Exception as error:  # of ours: what the other rules say still counts
            warn(f"the rule {rule.name} failed, and is left out of the diagnosis ({type(error).__name__}: {error})")
            unjudged.append(NotJudged(rule.name, rule.kind, "failed", {"error": type(error).__name__}))
            continue
        findings += [one for one in said if isinstance(one, Finding)]
        unjudged += [one for one in said if isinstance(one, NotJudged)]
    return findings, unjudged


def without_skipped(recording: Recording) -> Recording:
    """The recording as rules see it: without the steps that updated nothing.

    A loss scaler skips steps until it has found its scale, and a loop may leave out a batch: both train on.  Where
    most of the last half of the run is skipped nothing trains, and the steps count as those of any other run.
    """
    recording = _without_empty(recording)
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


def _without_empty(recording: Recording) -> Recording:
    """With a norm of 0 where an optimizer stepped while no gradient came to it: a norm of nothing is NaN, and no fault.

    Where a backbone is frozen its own optimizer goes on stepping.  A NaN would have come into the weights: those of the
    next measured step tell, and in that very step the gradients.
    """

    def is_empty(reading: StepReading) -> bool:
        if not math.isnan(reading.gradient_norm) or recording.origin is not None:
            return False
        after = next((s for s in recording.snapshots if s.step >= reading.step and s.parameters), None)
        held = [n for n, state in recording.parameters.items() if state.optimizer == reading.optimizer]
        if after is None or not held:
            return False
        left = [after.parameters[n] for n in held if n in after.parameters]
        if after.step == reading.step:
            return all(r.gradient is None for r in left)
        return all(r.weight.nonfinite == 0 for r in left)

    steps = [replace(s, gradient_norm=0.0) if is_empty(s) else s for s in recording.steps]
    return recording if all(map(operator.is_, steps, recording.steps)) else replace(recording, steps=steps, sinks=[])
