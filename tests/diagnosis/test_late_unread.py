"""Of faults that begin between measured steps, however small the budget, those with a cheap sign are seen in time."""

from __future__ import annotations

import pytest
from late_runs import CASES, START, Change, Late

from undertow.diagnosis import Finding, watch

SOON = 20
"""Steps after which it is asked; the next step that is due is 56 after the start of the fault."""
FAST = ("loss_is_constant",)
SIGNS = (
    "output_is_clamped",
    "rate_jumps",
    "rate_of_adam_jumps",
    "spike_kills",
    "units_die",
    "weight_is_nan",
    "weights_shrink",
)


def said(case: Late, change: Change) -> list[Finding]:
    """The findings above a note."""
    loop = case.make()
    with watch(loop.model, loop.optimizer, budget=0.0) as run:
        for step in range(START + SOON):
            if step >= START:
                change(loop, step - START)
            run.log(loop.step(step))
    return [finding for finding in run.diagnose().findings if finding.severity != "note"]


def check(name: str) -> None:
    case = CASES[name]
    assert any(f.kind in case.expect and f.step >= START for f in said(case, case.fault))
    assert said(case, case.twin) == []


@pytest.mark.parametrize("name", FAST)
def test_a_fault_that_begins_between_measured_steps_is_seen_and_its_twin_not(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNS)
def test_every_one_with_a_cheap_sign_is(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES.keys() - {*FAST, *SIGNS}))
def test_the_twins_of_the_others_are_passed_over(name: str) -> None:
    assert said(CASES[name], CASES[name].twin) == []
