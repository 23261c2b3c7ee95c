"""What shape an operation makes, without computing it: on tensors that have no values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_map

from undertow.activations import applied
from undertow.activations.recognition.calls import CALLS
from undertow.activations.recognition.replay import REPLAYED
from undertow.theory.laws.layout import CHOOSING

SAME = {
    *(CALLS.keys() - {"glu"}),
    *REPLAYED,
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    *("layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm"),
}
"""Operations that make a tensor of their first argument's shape."""
TOGETHER = {"add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv"}
"""Operators on two tensors, whose shapes are broadcast."""
VIEWS = {
    *("view", "reshape", "flatten", "unflatten", "transpose", "permute", "squeeze", "unsqueeze", "contiguous", "t"),
    *CHOOSING,
}


class Shapes:
    """Makes the results of common operations by rule; all else runs on the fake tensors, at ten times the cost."""

    def __init__(self, fake: FakeTensorMode) -> None:
        self._fake = fake
        self._bare: dict[int, tuple[Tensor, Tensor]] = {}

    def run(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `function` returns, as fake tensors."""
        x = args[0] if args else None
        called = getattr(function, "__name__", "_")
        in_place = called.endswith("_") != called.startswith("_") or called.startswith("__i")
        if isinstance(x, FakeTensor) and not in_place and not torch.is_autocast_enabled(x.fake_device.type):
            with unset_fake_temporarily():
                made = self._by_rule(name, function, x, args, kwargs)
            if made is not None:
                return made
        return function(*args, **kwargs)

    def _by_rule(self, name: str, function: Any, x: FakeTensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rest = args[1:]
        if name in SAME or function is applied:
            inplace = kwargs.get("inplace") or "out" in kwargs or any(a is True for a in rest[-1:])
            return None if inplace or "dtype" in kwargs else self._fake_of(x, x.shape)
        if name == "linear" and rest and _plain(x, rest[0]) and x.shape[-1] == rest[0].shape[-1]:
            return self._fake_of(x, (*x.shape[:-1], rest[0].shape[0]))
        if name in TOGETHER and len(rest) == 1 and not kwargs and (_plain(x, rest[0]) or isinstance(rest[0], float)):
            shape = _broadcast(x.shape, rest[0].shape if isinstance(rest[0], Tensor) else ())
            return None if shape is None else self._fake_of(x, shape)
        if name in VIEWS and not any(isinstance(a, Tensor) for a in _flat((*rest, *kwargs.values()))):
            try:
                viewed = function(self._without_values(x), *rest, **kwargs)
            except (RuntimeError, TypeError, IndexError):  # the fake tensor says it better
                return None
            return tree_map(lambda t: self._wrapped(x, t) if isinstance(t, Tensor) else t, viewed)
        return None

    def _without_values(self, x: FakeTensor) -> Tensor:
        found = self._bare.get(id(x))
        if found is None:
            bare = torch.empty(x.shape, dtype=x.dtype, device="meta")
            found = self._bare[id(x)] = (bare, x)  # a tensor that is freed leaves its id to another
        return found[0]

    def _fake_of(self, x: FakeTensor, shape: tuple[int, ...]) -> FakeTensor:
        return self._wrapped(x, torch.empty(shape, dtype=x.dtype, device="meta"))

    def _wrapped(self, x: FakeTensor, bare: Tensor) -> FakeTensor:
        made = FakeTensor(self._fake, bare, x.fake_device)
        self._bare[id(made)] = (bare, made)
        return made


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return torch.broadcast_shapes(one, other)
    except RuntimeError:
        return None


def _plain(x: FakeTensor, other: Any) -> bool:
    """Whether the result has the format and device of x."""
    if not isinstance(other, Tensor) or other.dtype != x.dtype:
        return False
    return (other.fake_device if isinstance(other, FakeTensor) else other.device) == x.fake_device


def _flat(values: tuple[Any, ...]) -> list[Any]:
    return [b for a in values for b in (_flat(tuple(a)) if isinstance(a, tuple | list) else [a])]
