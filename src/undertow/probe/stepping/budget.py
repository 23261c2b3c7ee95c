"""Which steps are read, so that the measured cost stays within what the user allows.

What reading a step costs is told by the time between neighbouring steps, those that are left alone beside one that is
not: it counts what our own code takes as well as the caches that it empties and the memory that it moves.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Literal

Kind = Literal["deep", "normed", "plain"]
"""Of a step: measured whole; the norms of its gradients read; left alone."""

FIRST = 5
"""The first steps are always measured: a fault that is there at the start shows in them."""
SPARSEST = 2.0
"""However small the budget, a step is measured at least each time their number has doubled: log n in all."""
ALARMED = (1, 2, 4, 8, 16)
"""Steps after an alarm that are measured: the last is still within twenty of the start of what three looks have shown,
and they are more than the three that make a state which lasts (`diagnosis.onset`)."""
QUIET = 64
"""Steps after the first alarm in which no other is heard; after each they are twice as many: log n alarms in all."""
AIM = 0.9
"""Share of the budget that is aimed at: what a step costs is known to about a tenth.  Ours."""
REPAY = 0.5
"""Share of what is allowed that is kept back until the first steps are paid for.  Ours."""
NORMS_SHARE = 0.5
"""What the norms may use of the budget.  Ours."""
NORMS_RAREST = 50
"""However small the budget, the norms of one step in so many are read.  Ours."""
NORMS_UNKNOWN = 10
"""Until it is known what they cost, the norms of one step in so many are read.  Ours."""
AFTER = 2
"""Steps after one that was read which still bear a part of its cost: its end, and emptied caches."""
FEW = 3
"""Steps that have to be left alone before any can be compared with them."""
STALE = 100
"""After so many steps without one that was left alone, some are again."""
KEPT = 50
"""Durations that are remembered: a run's steps may grow longer."""
DISPATCH = 1.5
"""What a hook costs over the time that passes inside it: torch's own way to call it.  Ours."""


class Cost:
    """What it costs to read a step of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.extras: deque[float] = deque(maxlen=KEPT)
        """Seconds by which such a step and those after it took longer than as many that were left alone."""
        self.own: deque[float] = deque(maxlen=KEPT)
        """Seconds of our own until its optimizer stepped, beyond those of any step."""

    @property
    def each(self) -> float:
        """By the clock of the steps, and at least what our own part takes with torch's way to call it."""
        return max(usual(self.extras), DISPATCH * usual(self.own))


class Budget:
    """Decides by the clock; `share` None measures every step."""

    def __init__(self, share: float | None, clock: Callable[[], float] | None = None) -> None:
        """`clock` gives seconds of the run; by default those of the wall."""
        self.share = share
        self.clock = clock or time.perf_counter
        self._started = self._last = self._first_over = self.clock()
        self._step, self._last_deep, self._last_plain, self._norms_from = -1, -1, -1, 0
        self._alarmed: deque[int] = deque()
        self._quiet, self._quiet_until = QUIET, 0
        self._inside = 0.0
        self._plain: deque[float] = deque(maxlen=KEPT)
        self._hooks: deque[float] = deque(maxlen=KEPT)
        self._first: list[float] = []
        self._read: dict[Kind, Cost] = {"deep": Cost(), "normed": Cost()}
        self._open: Cost | None = None
        self._durations: list[float] = []

    # ------------------------------------------------------------ which steps

    def wants(self, step: int, together: bool | None = None) -> bool:
        """Whether to measure this step whole.

        `together` is what the ranks that train one model have agreed on, or an alarm: it is the answer.
        """
        due = step < FIRST or step >= SPARSEST * self._last_deep or step in self._alarmed
        alone = self.share is None or due or not (self._blind(step) or self._missing() > 0)
        wanted = alone if together is None else together
        if wanted:
            self._last_deep = step
        while self._alarmed and self._alarmed[0] <= step:
            self._alarmed.popleft()
        return wanted

    def alarm(self, step: int) -> None:
        """This step is unlike those before: some after it are measured whatever that costs, unless alarms abound."""
        if step >= self._quiet_until:
            self._alarmed.extend(step + later for later in ALARMED)
            self._quiet_until = step + self._quiet
            self._quiet *= 2

    def wants_norms(self, step: int) -> bool:
        """Whether to read the norms of a step that is not measured whole."""
        if self.share is None:
            return True
        if step < self._norms_from or self._blind(step):
            return False
        self._norms_from = step + self._norms_every()
        return True

    def alone(self, step: int) -> int:
        """So many steps, this one and those after it, are not wanted if steps go on to take as long as they did."""
        blind = step + FEW + AFTER if self._blind(step) else step
        return max(min(max(self._norms_from, blind), self.next(step)) - step, 1)

    def next(self, step: int) -> int:
        """The step after this one that will be measured, if steps go on to take as long as they did."""
        alarmed = next((s for s in self._alarmed if s > step), math.inf)
        return int(min(self._next(step), alarmed))

    def _next(self, step: int) -> int:
        if self.share is None or step + 1 < FIRST or not self._first:
            return step + 1
        income = self._income()
        steps = max(self._missing() / income, 1.0) if income > 0 else math.inf
        return max(math.ceil(min(step + steps, SPARSEST * self._last_deep)), step + 1)

    @property
    def _aim(self) -> float:
        return AIM * (self.share or 0.0)

    def _blind(self, step: int) -> bool:
        """Whether there is nothing to compare with: some steps are left alone first."""
        return step >= FIRST and (len(self._plain) < FEW or step - self._last_plain > STALE)

    def _norms_every(self) -> int:
        if self._read["normed"].count < FEW:
            return NORMS_UNKNOWN
        allowed = NORMS_SHARE * self._allowed_a_step()
        cost = self._read["normed"].each
        return math.ceil(min(max(cost / allowed, 1.0), NORMS_RAREST)) if allowed > 0 else NORMS_RAREST

    def _missing(self) -> float:
        """Seconds of our own that a step measured now would take beyond the budget."""
        first = self._extra_of_first()
        later = self._aim * max(self._last - self._first_over - self._spent_later(), 0.0)
        cost = self._read["deep"].each if self._read["deep"].count else first / FIRST
        return cost + self._spent_later() - later + min(self._debt(), REPAY * later)

    def _debt(self) -> float:
        """Seconds that the first steps have cost beyond the budget."""
        first = self._extra_of_first()
        return max(first - self._aim * (self._first_over - self._started - first), 0.0)

    def _allowed_a_step(self) -> float:
        """Seconds of our own in each step, beyond those of the hooks."""
        later = self._aim * (self._last - self._first_over)
        kept_back = REPAY if self._debt() > REPAY * later else 0.0
        return self._aim * (1 - kept_back) * usual(self._plain or self._first) - self._hook()

    def _income(self) -> float:
        """Seconds that each step allows for measuring one whole."""
        return self._allowed_a_step() - self._read["normed"].each / self._norms_every()

    # ------------------------------------------------------------ what they cost

    def charge(self, seconds: float) -> None:
        """So much time was ours: in a step that is left alone it is all that observing costs."""
        self._inside += seconds

    def stepping(self, step: int, kind: Kind = "plain", at: float | None = None) -> None:
        """The first optimizer of a step is about to step, once its passes are over; at this reading of the clock."""
        if step == self._step:
            return
        now = self.clock() if at is None else at
        duration, self._last, self._step = now - self._last, now, step
        inside, self._inside = self._inside, 0.0
        if step < FIRST + AFTER and len(self._first) == step:
            self._first.append(duration)
            self._first_over = now
        elif kind != "plain":
            self._close()
            self._open, self._durations = self._read[kind], [duration]
            self._open.own.append(max(inside - usual(self._hooks), 0.0))
        elif self._open is not None:
            self._durations.append(duration)
            if len(self._durations) > AFTER:
                self._close()
        else:
            self._plain.append(duration)
            self._hooks.append(inside)
            self._last_plain = step

    def rested(self, step: int, times: Sequence[float], seconds: float) -> None:
        """Steps from this one on were left alone and stepped at these times; our part of them took these seconds."""
        each = seconds / max(len(times), 1)
        for number, at in enumerate(times[: FIRST + AFTER], step):
            self._inside = each
            self.stepping(number, at=at)
        left = times[FIRST + AFTER :]
        if left:
            self._plain.extend(after - before for before, after in pairwise([self._last, *left]))
            self._hooks.extend([each] * len(left))
            self._last, self._step = left[-1], step + len(times) - 1
            self._last_plain = self._step

    def _close(self) -> None:
        """A step that was read, and what it did to those after it."""
        if self._open is not None:
            usually = len(self._durations) * usual(self._plain or self._first)
            self._open.extras.append(sum(self._durations) - usually)
            self._open.count += 1
        self._open = None

    def _hook(self) -> float:
        return DISPATCH * usual(self._hooks)

    def _extra_of_first(self) -> float:
        if not self._plain:
            return 0.0
        return max((usual(self._first) - usual(self._plain)) * len(self._first), 0.0)

    def _spent_later(self) -> float:
        reading = sum(cost.each * cost.count for cost in self._read.values())
        return reading + self._hook() * max(self._step + 1 - len(self._first), 0)

    @property
    def overhead(self) -> float | None:
        """The measured cost as a share of the time without us; None where every step was measured."""
        return self._share(self._extra_of_first() + self._spent_later(), self._started)

    @property
    def overhead_later(self) -> float | None:
        """The same of what came after the first steps, which are measured whatever the budget."""
        return self._share(self._spent_later(), self._first_over)

    def _share(self, spent: float, since: float) -> float | None:
        return spent / max(self._last - since - spent, 1e-9) if self._plain else None


def usual(durations: Collection[float]) -> float:
    """The mean without the extremes, a tenth on either side: a step may wait for an evaluation or a file."""
    if not durations:
        return 0.0
    cut = min(math.ceil(len(durations) / 10), (len(durations) - 1) // 2)
    return fmean(sorted(durations)[cut : len(durations) - cut])
