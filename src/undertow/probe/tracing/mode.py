"""Every torch call inside a block, handed to a function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Calls(TorchFunctionMode):
    """A mode in which `run(function, args, kwargs)` is asked for the result of each call."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._run(func, args, kwargs or {})
