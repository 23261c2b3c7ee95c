"""A model beside the user's model: the same weights in the same memory, and nothing else in common.

On it a batch can be run again without a trace on the original.  It is no deep copy: that would take the memory of all
weights once more, and fails on what models often hold (a computed tensor, a trainer, a lock).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from types import MethodType
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from undertow.foundation import ModelError

PLAIN = (dict, OrderedDict, defaultdict, list, tuple, set)
"""Containers that are copied with what they hold; anything else that is no tensor or module is shared."""
FORWARD_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
_MADE: WeakSet[nn.Module] = WeakSet()


def replica(model: nn.Module, change: Callable[[nn.Module], None] = lambda module: None) -> nn.Module:
    """The module itself without its wrappers (DDP, DataParallel, compile), rebuilt.

    Parameters are leaves of their own that share the memory of the original's; buffers and plain containers are
    copies.  Of the hooks only torch's own stay (weight_norm and its like): those of the user would run twice.

    Parameters
    ----------
    model:
        The original, which is only read.
    change:
        Is given each new module once, to change it.

    Raises
    ------
    ModelError
        A model whose weights are not whole on this rank (FSDP), or that is compiled by torch.jit.
    """
    return _Builder(change).module(unwrapped(model))


def is_replica(module: nn.Module) -> bool:
    """Whether the module is one of ours, whose passes are none of the user's."""
    return module in _MADE


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DDP, DataParallel and torch.compile's wrapper."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod  # pyright: ignore
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            return model


class _Builder:
    def __init__(self, change: Callable[[nn.Module], None]) -> None:
        self._change = change
        self._made: dict[int, Any] = {}
        self._originals: list[Any] = []  # kept, so that no id is used twice

    def _keep(self, original: Any, made: Any) -> Any:
        self._originals.append(original)
        self._made[id(original)] = made
        return made

    def module(self, original: nn.Module) -> nn.Module:
        original = unwrapped(original)
        if id(original) in self._made:
            return self._made[id(original)]
        _refuse(original)
        twin = self._keep(original, object.__new__(type(original)))
        _MADE.add(twin)
        state = {name: self._value(name, value) for name, value in vars(original).items()}
        state["_compiled_call_impl"] = None  # model.compile() leaves a call of the original here
        vars(twin).update(state)
        self._change(twin)
        return twin

    def _value(self, name: str, value: Any) -> Any:
        if name in BACKWARD_HOOKS:
            return OrderedDict()
        if name in FORWARD_HOOKS:
            return OrderedDict((k, h) for k, h in value.items() if _is_torchs(h))
        return self.copied(value)

    def copied(self, value: Any) -> Any:
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self._keep(value, _tensor(value))
        if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
            return MethodType(value.__func__, self.module(value.__self__))
        if type(value) in PLAIN:
            return self._container(value)
        return value

    def _container(self, value: Any) -> Any:
        if isinstance(value, tuple | set):
            return type(value)(map(self.copied, value))
        made = self._keep(value, value.copy())  # known before its content is: it may hold itself
        for key, inner in list(made.items() if isinstance(made, dict) else enumerate(made)):
            made[key] = self.copied(inner)
        return made


def _tensor(value: Tensor) -> Tensor:
    if isinstance(value, nn.Parameter):
        twin = type(value)(value.detach(), requires_grad=value.requires_grad)  # pyright: ignore
        vars(twin).update({k: v for k, v in vars(value).items() if not k.startswith("_")})
        return twin
    return value.detach().clone() if value.is_leaf else value.detach()


def _refuse(module: nn.Module) -> None:
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(f"a {kind} compiled by torch.jit", "a module of Python", "watch it before torch.jit.script")
    sharded = "FullyShardedDataParallel" in (c.__name__ for c in type(module).__mro__)
    if sharded or any(hasattr(p, "_local_tensor") for p in module._parameters.values()):
        raise ModelError(f"a sharded {kind}", "a model whose weights are whole on this rank", "DDP, or one process")


def _is_torchs(hook: Any) -> bool:
    return getattr(hook, "__module__", type(hook).__module__).startswith("torch.")
