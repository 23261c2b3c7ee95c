"""The outermost calls of modules in a program that is not ours, while they are listened to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


class OutermostCalls:
    """Calls `entered(module, args)` for each call that no other module's call contains; armed by torch's own hooks.

    Left out are calls inside a backward pass (checkpointing computes anew), under tracing and in compiled code.
    """

    def __init__(self, entered: Callable[[nn.Module, tuple[Any, ...]], None], guard: Guard) -> None:
        self._entered = entered
        self._before, self._after = guard(self._enter), guard(self._leave)
        self._stack = threading.local()
        self._handles: list[Any] = []

    @property
    def armed(self) -> bool:
        return bool(self._handles)

    def arm(self) -> None:
        if not self._handles:
            self._handles = [
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after, always_call=True),
            ]

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.forget()

    def forget(self) -> None:
        """No call is open: one that ended by an interrupt was not seen to end."""
        self._stack = threading.local()

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() or torch._C._current_graph_task_id() != -1:
            return
        calls: list[nn.Module] = self._stack.__dict__.setdefault("calls", [])
        calls.append(module)
        if len(calls) == 1:
            self._entered(module, args)

    def _leave(self, module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        calls: list[nn.Module] = self._stack.__dict__.get("calls", [])
        while module in calls and calls.pop() is not module:
            pass


def variable_name(value: Any) -> str:
    """What the code that called it names it: `model`, or `net` for `self.net`; its class where it has no name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torch.", "undertow.")) and module != "torch":
            owner = frame.f_locals.get("self")
            inside = getattr(owner, "__dict__", {}) if owner is not value else {}
            for names in (frame.f_locals, inside, inside.get("_modules", {})):
                for name, found in names.items():
                    if found is value and name not in ("self", "module"):
                        return name
        frame = frame.f_back
    return type(value).__name__
