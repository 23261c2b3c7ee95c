"""When the next step is measured."""

import time

import pytest

from undertow.probe.stepping.budget import FIRST, Budget


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.perf_counter)
    return clock


def run(budget: Budget, clock: Clock, steps: int, extra: float = 1.0) -> list[int]:
    """Steps of a second, and of one more where they are measured."""
    measured = []
    for step in range(steps):
        wanted = budget.wants(step)
        clock.now += 1.0 + extra * wanted
        measured += [step] * wanted
        budget.stepped(step)
    return measured


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, None])
def test_the_next_step_is_told_as_it_comes(clock: Clock, share: float | None) -> None:
    budget, told = Budget(share), {}
    measured = []
    for step in range(400):
        wanted = budget.wants(step)
        clock.now += 1.0 + wanted
        measured += [step] * wanted
        budget.stepped(step)
        told[step] = budget.next(step)
    for step, following in zip(measured[FIRST + 2 :], measured[FIRST + 3 :], strict=False):
        assert abs(told[step] - following) <= 1  # of what was told when the step before had been measured
    assert all(told[s] > s for s in told)


def test_what_the_ranks_have_agreed_on_is_the_answer(clock: Clock) -> None:
    budget = Budget(0.0)
    assert run(budget, clock, 7) == [0, 1, 2, 3, 4, 6]
    assert not budget.wants(9, together=False)
    assert budget.wants(10, together=True)
    clock.now += 5
    budget.stepped(10)
    assert budget.next(10) == 15


@pytest.mark.parametrize(("share", "within"), [(0.02, 0.022), (0.1, 0.11)])
def test_the_share_is_kept_and_told_with_and_without_the_first_steps(clock: Clock, share: float, within: float) -> None:
    budget = Budget(share)
    measured = run(budget, clock, 600, extra=0.5)
    truth = 0.5 * len(measured) / 600
    assert budget.overhead == pytest.approx(truth, rel=0.01)
    assert 0.8 * share <= truth <= within
    assert budget.overhead_later == pytest.approx(0.5 * (len(measured) - FIRST) / (600 - FIRST), rel=0.01)


def test_a_step_that_waited_for_something_else_is_not_put_down_to_measuring(clock: Clock) -> None:
    budget = Budget(0.05)
    for step in range(400):
        wanted = budget.wants(step)
        clock.now += 1.0 + 0.2 * wanted + 500.0 * (step == 0) + 30.0 * (step % 40 == 39)
        budget.stepped(step)
    assert budget.overhead is not None
    assert budget.overhead < 0.06
    assert len(budget._later) > 20


@pytest.mark.parametrize(("cost", "taken"), [(0.001, 570), (0.04, 212), (10.0, 95)])
def test_norms_that_exceed_the_budget_are_sampled(clock: Clock, cost: float, taken: int) -> None:
    budget, normed = Budget(0.02), 0
    for step in range(600):
        wanted = budget.wants(step)
        clock.now += 1.0 + 5.0 * wanted
        if not wanted and budget.wants_norms(step):
            clock.now += cost
            budget.charge(cost)
            normed += 1
        budget.stepped(step)
    assert normed == pytest.approx(taken, rel=0.1)
