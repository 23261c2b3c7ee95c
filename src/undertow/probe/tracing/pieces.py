"""A model that is never called itself, only its parts: `model.decoder(model.encoder(x))` is a pass too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from undertow.probe.tracing.account import Account
from undertow.probe.tracing.trace import Guard, Trace
from undertow.record import NotObserved

BETWEEN = NotObserved(
    "what runs between the model's parts",
    "the model itself is never called, only its parts: what the loop computes between two of them, or on the model's "
    "parameters without a module, is not seen, and its factor is counted with the site before it",
)


class Pieces:
    """While armed, one trace for all parts that are called until a backward pass begins; then its account is opened.

    The hooks are torch's global ones, since any module of the model may be the part that is called.
    """

    def __init__(
        self,
        model: nn.Module,
        begun: Callable[[], Trace | None],
        opened: Callable[[Account], None],
        guard: Guard,
    ) -> None:
        """`begun` gives the trace of a pass that is wanted; `opened` takes the account of one that goes back."""
        self.model, self._begun, self._opened, self._guard = model, begun, opened, guard
        self._parts = {id(m) for m in model.modules()} - {id(model)}
        self._trace: Trace | None = None
        self._outputs: list[Tensor] = []
        self._outermost: nn.Module | None = None
        self._stack = ExitStack()
        self._handles: list[Any] = []
        self._listening: list[Any] = []

    def arm(self) -> None:
        if not self._handles:
            self._handles = [
                register_module_forward_pre_hook(self._guard(self._enter)),
                register_module_forward_hook(self._leave, always_call=True),
            ]

    def disarm(self) -> None:
        self._end_part()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.drop()

    def drop(self) -> None:
        """Forgets a pass that no backward pass has gone through."""
        for handle in self._listening:
            handle.remove()
        self._listening.clear()
        self._outputs.clear()
        self._trace = None

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        inside = self._outermost is not None or id(module) not in self._parts
        if inside or not (torch.is_grad_enabled() and module.training) or torch.compiler.is_compiling():
            return
        if self._trace is None:
            self._trace = self._begun()
        if self._trace is None:
            return
        self._outermost = module
        self._trace.enter(module, args)
        self._stack.enter_context(self._trace.watching())

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        if module is not self._outermost:
            return
        self._end_part()  # unguarded: after an error of ours the mode must still come off the stack
        self._guard(self._listen)(output)

    def _end_part(self) -> None:
        if self._outermost is not None:
            self._outermost = None
            self._stack.close()
            if self._trace is not None:
                self._trace.left()

    def _listen(self, output: Any) -> None:
        made = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
        self._outputs += made
        self._listening += [t.register_hook(self._guard(self._open)) for t in made]

    def _open(self, _gradient: Tensor) -> None:
        """The backward pass has come to the first of the outputs; from here on each node is hooked in time."""
        trace, outputs = self._trace, list(self._outputs)
        self.drop()
        if trace is not None and trace.operations:
            trace.not_observed.setdefault(BETWEEN.what, BETWEEN)
            self._opened(Account(trace, outputs))
