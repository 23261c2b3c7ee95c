"""What torch.fx sees of our layers: one call each, as of those of torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import nn
from torch.fx import Proxy, Tracer


def one_call(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A `forward` that a tracer writes down as a call of the module: what it chooses depends on x's values."""

    @wraps(forward)
    def traced(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        for x in (*args, *kwargs.values()):
            if isinstance(x, Proxy) and isinstance(x.tracer, Tracer):
                return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), args, kwargs)
        return forward(self, *args, **kwargs)

    return traced
