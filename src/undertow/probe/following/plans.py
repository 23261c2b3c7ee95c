"""Which plan a forward pass is likely to follow, and when to trace one instead."""

from __future__ import annotations

from dataclasses import replace

from undertow.probe.following.plan import Plan, plan_of
from undertow.probe.following.script import Script
from undertow.probe.tracing.account import Account

AGREEING = 2
"""Traces that must agree before a plan is followed: a model whose calls depend on its data soon shows it.  Ours."""
FRESH = 16
"""A plan is held against a trace again after so many passes, and each time their number has doubled.  Ours."""
MOST_CHANGES = 8
"""After so many changes of plan the calls depend on the data, and no more plans are made.  Ours."""


class _Known:
    """A plan with its record."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.agreed, self.followed, self.fresh_until = 1, 0, FRESH

    @property
    def trusted(self) -> bool:
        return self.agreed >= AGREEING and self.followed < self.fresh_until


class Plans:
    """The plans of one model, by the place of a pass in its step: a discriminator sees real data, then fake."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._at: dict[int, _Known] = {}
        self._changes: dict[int, int] = {}
        self._pass = 0
        self._unsettled: list[tuple[int, Account, Script]] = []

    def begin_step(self) -> None:
        """The passes of the step before are over, and what they teach is known."""
        for place, account, script in self._unsettled:
            self._learn(place, account, script)
        self._unsettled.clear()
        self._pass = 0

    def expected(self) -> Plan | None:
        """The plan of the pass that begins; None where a trace is due."""
        known = self._at.get(self._pass)
        return known.plan if known is not None and known.trusted else None

    @property
    def learning(self) -> bool:
        """Whether a trace of this pass may become a plan."""
        return self._changes.get(self._pass, 0) < MOST_CHANGES

    def followed(self, ok: bool) -> None:
        """The pass is over; whether it went as planned."""
        known = self._at[self._pass]
        if ok:
            known.followed += 1
        else:
            known.agreed = 0
            self._changed()
        self._pass += 1

    def traced(self, account: Account | None, script: Script | None) -> None:
        """The pass was traced; what it teaches is known after its backward pass."""
        if account is not None and script is not None:
            self._unsettled.append((self._pass, account, script))
        self._pass += 1

    def _changed(self, place: int | None = None) -> None:
        place = self._pass if place is None else place
        self._changes[place] = self._changes.get(place, 0) + 1

    def _learn(self, place: int, account: Account, script: Script) -> None:
        plan = plan_of(account, script) if account.complete else None
        if plan is None:
            self._at.pop(place, None)
            return self._changed(place)
        known = next((k for k in self._known if k.plan.signature == plan.signature), None)
        if known is None:
            known = _Known(plan)
            self._known.append(known)
        else:
            known.agreed += 1
            known.fresh_until = max(FRESH, 2 * known.followed)
            if known.plan.whole != plan.whole:
                known.plan = replace(plan, whole=known.plan.whole & plan.whole)
        if self._at.get(place, known) is not known:
            self._changed(place)
        self._at[place] = known
        return None
