"""When the next step is measured."""

import time

import pytest

from undertow.probe.budget import FIRST, Budget


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
