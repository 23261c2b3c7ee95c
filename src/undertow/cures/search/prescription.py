"""From findings to the cures worth a trial, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from undertow.cures.cure import Cure, NotApplicableError, all_cures, chosen
from undertow.cures.search.together import Together
from undertow.cures.training import Training, first_batch
from undertow.diagnosis import Finding
from undertow.foundation import UndertowError
from undertow.record.flow import EXPLODED, VANISHED, flow
from undertow.theory import Forecast, forecast

HANDLINGS = (("learning_rate ×0.1",), ("learning_rate ×10",), ("adam",), ("adam", "learning_rate ×10"))
"""What each change of the network is tried with too: another network needs another rate, and a step of Adam is its
rate whatever the gradient.  Rates are searched by decades (Bengio 2012, arXiv:1206.5533)."""
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


def prescribe(training: Training, findings: Iterable[Finding], cures: Sequence[Cure] | None = None) -> list[Prescribed]:
    """The cures that are meant for these findings, in the order of their expected effect, then those that are not.

    First come the cures that a finding itself names, in its order, then the others of the catalogue; of each the ones
    with a flow nearer to 1.  A cure with which the forecast still shows the fault as one that can't be trained is not
    promising: another optimizer cannot give back what no gradient carries.
    """
    findings = list(findings)
    kinds = {f.kind for f in findings}
    named = [name for f in findings for name in f.cures]
    meant = [c for c in (all_cures() if cures is None else cures) if kinds & set(c.treats) or c.name in named]
    found = [_prescribed(cure, training, kinds) for cure in meant]

    def worth(one: Prescribed) -> tuple[bool, int, float]:
        place = named.index(one.cure.name) if one.cure.name in named else len(named)
        return not one.promising, place, abs(math.log(one.flow)) if 0 < one.flow < math.inf else math.inf

    return sorted(found, key=worth)


def plans(training: Training, findings: Iterable[Finding], most: int) -> list[Cure]:
    """The changes worth a race, alone and two together, the most promising first.

    A change of the network (activation, initialisation, normalisation) goes with another optimizer, rate or clipping;
    alone each of these is tried too.  Those early in both lists come first.
    """
    found = prescribe(training, findings)
    networks = [(p.cure,) for p in found if p.promising and p.cure.changes_network]
    handlings = [(p.cure,) for p in found if not p.refused and not p.cure.changes_network]
    usual = [chosen(labels) for labels in HANDLINGS]
    handlings += [u for u in usual if u not in handlings and not Together(u).applies(training)]
    ranked = [(i, 0, network) for i, network in enumerate(networks)]
    ranked += [(j, 1, handling) for j, handling in enumerate(handlings)]
    ranked += [(i + j + 1, 2, (*n, *h)) for i, n in enumerate(networks) for j, h in enumerate(handlings)]
    parts = [plan for *_, plan in sorted(ranked, key=lambda r: r[:2])][:most]
    return [plan[0] if len(plan) == 1 else Together(plan) for plan in parts]


def _prescribed(cure: Cure, training: Training, kinds: set[str]) -> Prescribed:
    if reason := cure.applies(training):
        return Prescribed(cure, refused=reason)
    try:
        cured = cure.apply(training)
        batch = first_batch(cured)
        foretold = forecast(cured.model, batch[0] if isinstance(batch, tuple | list) and len(batch) > 1 else batch)
    except NotApplicableError as error:
        return Prescribed(cure, refused=error.reason)
    except UndertowError:  # what theory cannot read is left to the trial
        return Prescribed(cure)
    still = next((f.kind for f in foretold.findings if _remains(f, kinds)), "")
    return Prescribed(cure, remains=still, flow=_flow(foretold))


def _remains(finding: Finding, kinds: set[str]) -> bool:
    return finding.severity == "critical" and finding.kind in FORESEEN and finding.kind in kinds


def _flow(foretold: Forecast) -> float:
    """One that is within what one learning rate serves is as good as 1."""
    found = flow(foretold.ledger)
    return 1.0 if VANISHED < found < EXPLODED else found
