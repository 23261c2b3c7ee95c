"""A fault that develops is reported within twenty steps of its start, and its benign twin never."""

from __future__ import annotations

import pytest
from late_runs import CASES, START, Change, Late, Loop

from undertow.diagnosis import Finding, watch

FAST = ("loss_is_constant",)


def said(case: Late, change: Change, *stops: int) -> list[list[Finding]]:
    """The findings above a note, each time that so many steps have followed the first of the change."""
    loop, found = case.make(), []
    with watch(loop.model, loop.optimizer, budget=None) as run:
        for step in range(START + max(stops)):
            if step >= START:
                change(loop, step - START)
            loop.step(step)
            if step + 1 - START in stops:
                found.append([f for f in run.diagnose().findings if f.severity != "note"])
    return found


def check_fault(name: str) -> None:
    case = CASES[name]
    before, soon = said(case, case.fault, 0, 20)
    assert before == []
    found = [f for f in soon if f.kind in case.expect]
    assert found
    assert all(START <= f.step < START + 20 for f in found)


def check_twin(name: str) -> None:
    case = CASES[name]
    assert said(case, case.twin, 0, 5, 20, 60) == [[], [], [], []]


@pytest.mark.parametrize("name", FAST)
def test_a_fault_that_develops_is_reported_within_twenty_steps(name: str) -> None:
    check_fault(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES.keys() - FAST))
def test_every_fault_that_develops_is_reported_within_twenty_steps(name: str) -> None:
    check_fault(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_looks_like_a_fault_and_is_none_is_passed_over(name: str) -> None:
    check_twin(name)


@pytest.mark.slow
def test_a_fault_that_came_and_went_is_at_most_a_note() -> None:
    case = CASES["inputs_grow"]

    def for_a_while(loop: Loop, step: int) -> None:
        loop.scale = 300.0 if step < 30 else 1.0

    during, after = said(case, for_a_while, 20, 80)
    assert [f.kind for f in during] == ["saturated"]
    assert after == []
