"""Several symptoms of one cause are one finding: what can have made what, and where on the way of the gradient."""

from __future__ import annotations

from typing import Literal

from undertow.foundation import Finding, Kind
from undertow.record import Ledger, Recording
from undertow.record.flow import EXPLODED, VANISHED, flow, flow_without

Reach = Literal["before", "after", "everywhere"]
"""Where a fault shows: in the layers before it, which the gradient reaches later; in those after it; in the whole run,
because the weights that it spoils are used everywhere."""

FLOW: tuple[Kind, ...] = ("vanishing", "exploding", "saturated", "dead")
RATE: tuple[Kind, ...] = ("unstable_lr", "too_small_lr")


def _makes(*kinds: Kind, before: tuple[Kind, ...] = ()) -> dict[Kind, Reach]:
    return {**dict.fromkeys(kinds, "everywhere"), **dict.fromkeys(before, "before")}  # type: ignore[dict-item]


MAKES: dict[Kind, dict[Kind, Reach]] = {
    # no gradient, or one and the same for all units: the flow is not to blame for what it is not given
    "loss_mismatch": _makes(*FLOW, *RATE, "nonfinite", "symmetric"),
    "symmetric": _makes(*FLOW, *RATE, "nonfinite"),
    "disconnected": _makes(before=("vanishing", "too_small_lr")),
    "nonfinite": _makes(*FLOW, *RATE),
    "exploding": _makes(*RATE, "nonfinite", "saturated", "dead"),
    "dead": _makes("unstable_lr", before=("vanishing", "exploding", "too_small_lr")),
    "saturated": _makes("unstable_lr", before=("vanishing", "exploding", "too_small_lr")),
    "vanishing": _makes("dead", "saturated", "too_small_lr"),
    "unstable_lr": _makes("vanishing", "exploding", "saturated", "nonfinite"),
    "too_small_lr": {},
}
"""The symptoms of each kind.  Units that long steps have killed, and NaN, last when the rate is lowered: there the
finding is the loss of the units, with the learning rate as its cause, and `unstable_lr` its symptom."""

OUTGROWN = ("weights", "activation", "depth", "learning_rate")
"""Causes of `nonfinite` where values grew until they left the number format, so that what made them grow comes first;
a NaN of another cause comes from nothing."""
PRECEDENCE: tuple[Kind, ...] = (
    "loss_mismatch",
    "symmetric",
    "disconnected",
    "exploding",
    "nonfinite",
    "dead",
    "saturated",
    "vanishing",
    "unstable_lr",
    "too_small_lr",
)
"""Among findings of one step: what can make the later ones is judged first."""


def root_causes(findings: list[Finding], recording: Recording) -> list[Finding]:
    """The findings that no other one explains.

    One explains another if it began no later, can make such a symptom, and can make it there: a fault of the backward
    pass shows in the layers before it.  What is said of the flow must also be gone once the factors of the layers
    concerned are taken out of the ledger; a saturated layer that costs a tenth explains no loss of nine decades.
    """
    ranked = sorted(findings, key=_rank)
    ledgers = {s.step: s.ledger for s in recording.snapshots}
    kept: list[Finding] = []
    for place, finding in enumerate(ranked):
        ledger = ledgers.get(finding.step, recording.snapshots[0].ledger)
        if not any(_explains(earlier, finding, ledger) for earlier in ranked[:place]):
            kept.append(finding)
    return kept


def _rank(finding: Finding) -> tuple[int, int]:
    from_nothing = finding.kind == "nonfinite" and finding.cause not in OUTGROWN
    return finding.step, -1 if from_nothing else PRECEDENCE.index(finding.kind)


def _explains(one: Finding, other: Finding, ledger: Ledger) -> bool:
    if one.kind == other.kind:
        return one.cause == other.cause and _reaches(one, other, ledger, "before")
    reach = MAKES[one.kind].get(other.kind)
    if reach is None or (other.kind == "nonfinite" and other.cause not in OUTGROWN):
        return False
    return _reaches(one, other, ledger, reach) and _accounts(one, other, ledger)


def _reaches(one: Finding, other: Finding, ledger: Ledger, reach: Reach) -> bool:
    """Whether the other lies where the one shows; what has no place on the ledger is everywhere."""
    mine, its = _places(one, ledger), _places(other, ledger)
    if reach == "everywhere" or not mine or not its:
        return True
    return its[0] <= mine[-1] if reach == "before" else its[-1] >= mine[0]


def _places(finding: Finding, ledger: Ledger) -> list[int]:
    concerned = {*finding.sites, finding.where}
    return [i for i, e in enumerate(ledger) if e.site.label in concerned]


def _accounts(one: Finding, other: Finding, ledger: Ledger) -> bool:
    """Whether the flow would be sound without the factors of the layers that the one names; true of other kinds.

    A loss that does not fit its output makes the gradient small or none before it reaches the layers: what these do
    to it, relative to what they are given, is another matter.
    """
    if other.kind not in ("vanishing", "exploding") or not ledger.path:
        return True
    if one.kind == "loss_mismatch":
        return _sound(flow(ledger))
    if one.kind not in ("dead", "saturated"):
        return True
    without = flow_without(ledger, {ledger.entries[place].site for place in _places(one, ledger)})
    return _sound(without)


def _sound(flow: float) -> bool:
    return not (flow < VANISHED or flow > EXPLODED)  # NaN: there is no gradient at all that could vanish
