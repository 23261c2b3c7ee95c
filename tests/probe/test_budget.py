"""Which steps are read, and what they are said to cost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from undertow.probe.stepping.budget import ALARMED, DISPATCH, FIRST, NORMS_RAREST, Budget, Kind


class Run:
    """Steps of a second, each with what reading it adds to it and to the one that follows, on a clock of its own."""

    def __init__(self, share: float | None, deep: float = 1.0, norms: float = 0.0, after: float = 0.0) -> None:
        self.now = 0.0
        self.budget = Budget(share, lambda: self.now)
        self.costs: dict[Kind, float] = {"deep": deep, "normed": norms, "plain": 0.0}
        self.after, self.hooks, self.other = after, 0.0, 0.0
        self.kinds: list[Kind] = []
        self.told: list[int] = []

    def steps(self, count: int, normed: bool = True) -> Run:
        for step in range(len(self.kinds), len(self.kinds) + count):
            deep = self.budget.wants(step)
            kind: Kind = "deep" if deep else "normed" if normed and self.budget.wants_norms(step) else "plain"
            late = self.after if self.kinds and self.kinds[-1] != "plain" else 0.0
            self.now += 1.0 + self.costs[kind] + late + self.hooks + (self.other if step % 40 == 39 else 0.0)
            self.budget.charge(self.hooks)
            self.budget.stepping(step, kind)
            self.kinds.append(kind)
            self.told.append(self.budget.next(step))
        return self

    @property
    def deep(self) -> list[int]:
        return [step for step, kind in enumerate(self.kinds) if kind == "deep"]

    def spent(self, first: int = 0) -> float:
        """The share that was really spent from a step on."""
        kinds = self.kinds[first:]
        reading = sum(self.costs[kind] + self.after * (kind != "plain") for kind in kinds)
        return (reading + self.hooks * len(kinds)) / len(kinds)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, None])
def test_the_next_step_is_told_as_it_comes(share: float | None) -> None:
    run = Run(share).steps(400, normed=False)
    later = [step for step in run.deep if 60 < step < 390] if share in (0.0, 0.02) else []
    for step, following in pairwise(later):
        assert abs(run.told[step + 3] - following) <= 1
    assert all(following > step for step, following in enumerate(run.told))


def test_what_the_ranks_have_agreed_on_is_the_answer() -> None:
    run = Run(0.0).steps(9)
    assert run.deep == [0, 1, 2, 3, 4, 8]
    assert not run.budget.wants(20, together=False)
    assert run.budget.wants(10, together=True)


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("after", [0.0, 0.25])
def test_the_share_is_kept_and_told(share: float, after: float) -> None:
    run = Run(share, deep=0.5, norms=0.01, after=after).steps(1200)
    assert run.budget.overhead == pytest.approx(run.spent(), rel=0.1)
    assert run.budget.overhead_later == pytest.approx(run.spent(FIRST), rel=0.1)
    assert 0.7 * share <= run.spent() <= share


def test_the_first_steps_are_paid_back() -> None:
    run = Run(0.02, deep=0.6).steps(300)
    assert run.spent(FIRST) < 0.02 < run.spent()
    assert run.steps(1200).spent() <= 0.02


def test_a_step_that_waited_for_something_else_is_not_put_down_to_reading() -> None:
    run = Run(0.05, deep=0.2)
    run.now += 500
    run.other = 30.0
    run.steps(600)
    assert run.budget.overhead is not None
    assert run.budget.overhead < 0.06
    assert len(run.deep) > 40


@pytest.mark.parametrize(("norms", "every"), [(0.001, 1), (0.04, 5), (10.0, NORMS_RAREST)])
def test_norms_are_read_as_often_as_half_of_the_budget_allows(norms: float, every: int) -> None:
    run = Run(0.02, deep=0.5, norms=norms).steps(1500)
    taken = [step for step, kind in enumerate(run.kinds) if kind == "normed" and step > 500]
    assert len(taken) == pytest.approx(1000 / every, rel=0.15)


def test_what_is_done_in_every_step_is_told_and_leaves_less_for_the_others() -> None:
    run = Run(0.02, deep=0.5)
    run.hooks = 0.01 / DISPATCH
    run.steps(1200)
    assert run.budget.overhead_later == pytest.approx(0.01 + run.spent(FIRST) - run.hooks, rel=0.05)
    assert run.spent() < 0.02


def test_where_hooks_alone_exceed_the_budget_the_number_of_steps_still_doubles() -> None:
    run = Run(0.02)
    run.hooks = 0.1
    run.steps(100)
    assert run.deep == [0, 1, 2, 3, 4, 8, 16, 32, 64]
    assert {step for step, kind in enumerate(run.kinds) if kind == "normed"}


def test_steps_that_were_left_alone_are_taken_in_together() -> None:
    one, other = Run(0.02).steps(400), Run(0.02)
    step = 0
    while step < 400:
        budget = other.budget
        deep = budget.wants(step)
        normed = not deep and budget.wants_norms(step)
        if not (deep or normed):
            count = min(budget.alone(step), 400 - step)
            times = [other.now + 1.0 + i for i in range(count)]
            other.now = times[-1]
            budget.rested(step, times, 0.0)
        else:
            count = 1
            other.now += 1.0 + deep
            budget.stepping(step, "deep" if deep else "normed")
        step += count
    assert other.budget.overhead == pytest.approx(one.budget.overhead, rel=0.1)


def test_after_an_alarm_some_steps_are_measured_and_told_before() -> None:
    run = Run(0.0).steps(600)
    run.budget.alarm(599)
    run.steps(60)
    assert [step for step in run.deep if step >= 600] == [599 + later for later in ALARMED]
    assert [run.told[step - 1] for step in run.deep if step > 600] == [step for step in run.deep if step > 600]


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_alarms_that_abound_are_heard_ever_more_seldom(share: float) -> None:
    """Those of 4096 steps come at 0, 64, 192, 448, 960, 1984 and 4032, and the budget saves up for them elsewhere."""
    run = Run(share)
    for _ in range(1 << 12):
        run.steps(1)
        run.budget.alarm(len(run.kinds) - 1)
    assert len(run.deep) <= share * len(run.kinds) + 7 * len(ALARMED) + FIRST + 12
    assert run.budget.overhead == pytest.approx(run.spent(), rel=0.1)
    assert run.spent() <= 0.02
