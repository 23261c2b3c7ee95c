"""Every torch call inside a block, handed to a function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Calls(TorchFunctionMode):
    """A mode in which `run(function, args, kwargs)` is asked for the result of each call."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._run(func, args, kwargs or {})


@contextmanager
def seeing(call: Run, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Hands over every torch call inside the block, and every module that is called in it, at both of its ends.

    The hooks are global, short-lived and leave no trace on the model.
    """
    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    ]
    try:
        with Calls(call):
            yield
    finally:
        for handle in handles:
            handle.remove()
