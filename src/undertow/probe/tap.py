"""The tap on a model's forward pass: opens a trace when it starts, hooks its graph when it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from undertow.probe.account import Account
from undertow.probe.slopes import Slopes
from undertow.probe.trace import Guard, Trace


class ForwardTap:
    """While armed, fills `accounts` with one account for each wanted forward pass that takes part in autograd."""

    def __init__(self, model: nn.Module, wanted: Callable[[], bool], guard: Guard = lambda call: call) -> None:
        """`guard` wraps what is ours in the two hooks; the observer's keeps our errors out of the user's loop."""
        self.model, self.wanted, self._guard = model, wanted, guard
        self.accounts: list[Account] = []
        self._slopes = Slopes()
        self._open: tuple[Trace, ExitStack] | None = None
        self._handles: list[Any] = []

    def arm(self) -> None:
        """Puts two hooks on the model; between measured steps it has none, and a compiled one is not compiled anew."""
        if not self._handles:
            self._handles = [
                self.model.register_forward_pre_hook(_Hook(self._guard(self.enter))),
                self.model.register_forward_hook(_Hook(self._after), always_call=True),
            ]

    def disarm(self) -> None:
        """Takes them off; the model is as it was."""
        self.leave()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._open is not None or not torch.is_grad_enabled() or torch.compiler.is_compiling() or not self.wanted():
            return
        trace, stack = Trace(self.model, self._slopes, self._guard), ExitStack()
        trace.enter(module, args)
        stack.enter_context(trace.watching())
        self._open = trace, stack

    def _after(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        trace = self.leave()  # unguarded: after an error of ours the mode must still come off the stack
        if trace is not None:
            self._guard(self._open_account)(trace, output)

    def _open_account(self, trace: Trace, output: Any) -> None:
        if trace.operations:
            self.accounts.append(Account(trace, output))

    def leave(self) -> Trace | None:
        """Ends the forward pass under observation, if there is one."""
        opened, self._open = self._open, None
        if opened is None:
            return None
        opened[1].close()
        return opened[0]

    def take(self) -> list[Account]:
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
