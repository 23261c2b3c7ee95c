"""From findings to the cures worth a trial, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from undertow.cures.copying import copied
from undertow.cures.cure import Cure, NotApplicableError, all_cures, failure
from undertow.cures.training import Training, first_batch
from undertow.diagnosis import Finding
from undertow.foundation import UndertowError, say
from undertow.record.flow import EXPLODED, VANISHED, flow
from undertow.theory import Forecast, forecast

FORESEEN = ("vanishing", "exploding", "saturated", "dead")
"""Kinds that a forecast can tell to be still there."""


@dataclass(frozen=True)
class Prescribed:
    """A cure for the findings of a training, or why it is none."""

    cure: Cure
    refused: str = ""
    """Why it can't be applied to this training."""
    remains: str = ""
    """The kind of fault that theory still foresees with it, at its worst."""
    flow: float = math.nan
    """The flow that is foreseen with it; NaN where none could be."""

    @property
    def promising(self) -> bool:
        return not (self.refused or self.remains)

    @property
    def why_not(self) -> str:
        """Why it was not raced, where it was not."""
        foreseen = self.remains and say("cure.untried.foreseen", kind=self.remains)
        return self.refused or foreseen or say("cure.untried.budget")


def prescribe(
    training: Training, findings: Iterable[Finding], cures: Sequence[Cure] | None = None, repaired: bool = False
) -> list[Prescribed]:
    """The cures that are meant for these findings, in the order of their expected effect, then those that are not.

    First come the cures that a finding itself names, in its order, then the others of the catalogue; of each the ones
    with a flow nearer to 1.  A cure with which the forecast still shows the fault as one that can't be trained is not
    promising: another optimizer cannot give back what no gradient carries.  Of a training whose cut or mismatch is
    `repaired` nothing was measured yet, nor of one that broke off without a finding: there every cure is meant.
    """
    findings = list(findings)
    kinds: set[str] = {f.kind for f in findings}
    if repaired or not kinds:
        kinds |= {kind for cure in all_cures() for kind in cure.treats}
    named = [name for f in findings for name in f.cures]
    meant = [c for c in (all_cures() if cures is None else cures) if kinds & set(c.treats) or c.name in named]
    unchanged = _forecast(copied(training))
    found = [_prescribed(cure, training, kinds, unchanged) for cure in meant]

    def worth(one: Prescribed) -> tuple[bool, int, float]:
        place = named.index(one.cure.name) if one.cure.name in named else len(named)
        return not one.promising, place, abs(math.log(one.flow)) if 0 < one.flow < math.inf else math.inf

    return sorted(found, key=worth)


def _prescribed(cure: Cure, training: Training, kinds: set[str], unchanged: Forecast | None) -> Prescribed:
    try:
        if reason := cure.applies(training):
            return Prescribed(cure, refused=reason)
        # Another optimizer, rate or clipping leaves the network, and so its forecast, as it is.
        foretold = _forecast(cure.apply(training)) if cure.changes_network else unchanged
    except NotApplicableError as error:
        return Prescribed(cure, refused=error.reason)
    except Exception as error:  # of this cure on this model: told among the untried, and the search goes on
        return Prescribed(cure, refused=failure(error))
    if foretold is None:
        return Prescribed(cure)
    still = next((f.kind for f in foretold.findings if _remains(f, kinds)), "")
    return Prescribed(cure, remains=still, flow=_flow(foretold))


def _forecast(training: Training) -> Forecast | None:
    """None for what theory cannot read, which is left to the trial."""
    try:
        batch = first_batch(training)
        return forecast(training.model, batch[0] if isinstance(batch, tuple | list) and len(batch) > 1 else batch)
    except UndertowError:
        return None


def _remains(finding: Finding, kinds: set[str]) -> bool:
    return finding.severity == "critical" and finding.kind in FORESEEN and finding.kind in kinds


def _flow(foretold: Forecast) -> float:
    """One that is within what one learning rate serves is as good as 1."""
    found = flow(foretold.ledger)
    return 1.0 if VANISHED < found < EXPLODED else found
