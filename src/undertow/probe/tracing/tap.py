"""The tap on a model's forward pass: opens a trace when it starts, hooks its graph when it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from undertow.probe.following.plans import Plans
from undertow.probe.following.replay import Replay
from undertow.probe.following.returning import Returning
from undertow.probe.following.script import Script
from undertow.probe.tracing.account import Account
from undertow.probe.tracing.pieces import Pieces
from undertow.probe.tracing.slopes import Slopes
from undertow.probe.tracing.trace import Guard, Trace
from undertow.probe.wiring.cuts import Cuts
from undertow.record import NotObserved

TURNED = NotObserved(
    "steps with another forward pass",
    "a pass that makes other calls than those before it is left unmeasured; the next passes are measured",
)

LISTENED_TO = 10
"""So many passes are traced to tell what leaves the graph in them: those of the first steps, two a step, or of a
step that no longer reaches what the first ones did.  Ours."""


class ForwardTap:
    """While armed, fills `accounts` with one account for each wanted forward pass that takes part in autograd."""

    def __init__(
        self,
        model: nn.Module,
        wanted: Callable[[], bool],
        guard: Guard = lambda call: call,
        settled: Callable[[], bool] = lambda: False,
    ) -> None:
        """`guard` wraps what is ours in the two hooks; the observer's keeps our errors out of the user's loop.

        `settled` says that the step has its ledger: of a further pass only the units are looked at.
        """
        self.model, self.wanted, self._guard, self.settled = model, wanted, guard, settled
        self.accounts: list[Account | Returning] = []
        self._cuts: list[Cuts] = []
        self._cuts_left = LISTENED_TO
        self.listens = True
        """Whether traced passes are to tell what leaves the graph in them."""
        self._slopes, self._plans = Slopes(), Plans()
        self._open: tuple[Trace | Replay, Script | None, ExitStack] | None = None
        self._turned = False
        self._handles: list[Any] = []
        self._pieces: Pieces | None = Pieces(model, self._piece, self._keep, guard)
        """Until the model itself is called."""

    def arm(self) -> None:
        """Puts two hooks on the model; between measured steps it has none, and a compiled one is not compiled anew."""
        if not self._handles:
            self._handles = [
                self.model.register_forward_pre_hook(_Hook(self._guard(self.enter))),
                self.model.register_forward_hook(_Hook(self._after), always_call=True),
            ]
        if self._pieces is not None:
            self._pieces.arm()

    def begin_step(self) -> None:
        """The passes that come belong to another step of training than those before."""
        self._plans.begin_step()
        self._cuts.clear()
        if self._pieces is not None:
            self._pieces.drop()

    def disarm(self) -> None:
        """Takes them off; the model is as it was."""
        self.leave()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._pieces is not None:
            self._pieces.disarm()

    def _piece(self) -> Trace | None:
        """For a part that is called by itself."""
        return Trace(self.model, self._slopes, self._guard) if self.wanted() else None

    def _keep(self, account: Account) -> None:
        self.accounts.append(account)

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._pieces is not None:
            self._pieces.disarm()
            self._pieces = None
            for account in self.take():  # the model is called after all: its parts were for something else
                account.close()
        if self._open is not None or not torch.is_grad_enabled() or torch.compiler.is_compiling() or not self.wanted():
            return
        stack = ExitStack()
        listens = self.listens and self._cuts_left > 0  # which a pass that follows a plan doesn't
        plan = None if listens or torch._C._are_functorch_transforms_active() else self._plans.expected()
        if plan is not None:
            replay = Replay(plan, self._slopes, self._guard, light=self.settled())
            replay.given.note(args)
            stack.callback(replay.close)
            replay.open()
            self._open = replay, None, stack
            return
        trace = Trace(self.model, self._slopes, self._guard)
        script = Script(trace, self._guard) if self._plans.learning else None
        trace.enter(module, args)
        stack.enter_context(trace.watching())
        if script is not None:
            stack.enter_context(script.watching())
        if listens:
            self._cuts_left -= 1
            self._cuts.append(Cuts(trace, self._guard))
            stack.enter_context(self._cuts[-1].watching())
        self._open = trace, script, stack

    def _after(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        opened = self.leave()  # unguarded: after an error of ours the mode must still come off the stack
        if opened is not None:
            self._guard(self._open_account)(*opened, output)

    def _open_account(self, seen: Trace | Replay, script: Script | None, output: Any) -> None:
        if isinstance(seen, Replay):
            account = seen.account(output)
            self._plans.followed(account is not None)
            self._turned = self._turned or account is None
        else:
            if self._turned:
                seen.not_observed.setdefault(TURNED.what, TURNED)
            account = Account(seen, output) if seen.operations else None
            self._plans.traced(account, script)
        if account is not None:
            self.accounts.append(account)

    def leave(self) -> tuple[Trace | Replay, Script | None] | None:
        """Ends the forward pass under observation, if there is one."""
        opened, self._open = self._open, None
        if opened is None:
            return None
        opened[2].close()
        return opened[:2]

    def take_cuts(self) -> list[Cuts]:
        """What left the graph in the traced passes of this step, handed over; only the first passes tell it."""
        cuts, self._cuts = self._cuts, []
        return cuts

    def take(self) -> list[Account | Returning]:
        """The accounts so far, handed over."""
        accounts, self.accounts = self.accounts, []
        return accounts


class _Hook:
    """A hook that a pickled or copied model carries on as one that does nothing."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> None:
        self.call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_silent, ())


def _nothing(*_args: Any) -> None:
    return None


def _silent() -> Callable[..., None]:
    return _nothing
