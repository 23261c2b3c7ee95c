"""A forward pass that leaves nothing behind: modes, buffers, attributes and the random state are put back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from undertow.record.names import WRAPPED


def inside(model: nn.Module) -> nn.Module:
    """The user's own module in what `torch.compile`, DataParallel and DistributedDataParallel make of it."""
    while True:
        parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        name = next((n for n in (*WRAPPED, *(("module",) if parallel else ())) if n in model._modules), None)
        found = model._modules[name] if name else None
        if found is None:
            return model
        model = found


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Puts back what the forward pass changes.  Compiled code runs as it was written, warnings are for the training."""
    attributes = [(m, dict(vars(m)), dict(m._buffers)) for m in model.modules() if not _scripted(m)]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    eager = torch.compiler.set_stance("force_eager")
    with torch.random.fork_rng(devices=devices), eager, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for module, before, buffers in attributes:
                _put_back(vars(module), before)
                _put_back(module._buffers, buffers)


@contextlib.contextmanager
def values_untouched(model: nn.Module) -> Iterator[None]:
    """The numbers in the model's buffers too, for a pass on real values."""
    values = [(b, b.clone()) for b in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in values:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def disturbing_nothing(module: nn.Module) -> Callable[..., Any]:
    """The module as a function that leaves its buffers as they are."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with values_untouched(module):
            return module(*args, **kwargs)

    return call


@contextlib.contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Modules that the user froze by themselves stay so; a model in evaluation mode is forecast as it will train."""
    modes = [] if model.training else [(m, m.training) for m in model.modules()]
    try:
        for module, _ in modes:
            module.training = True
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    if now.keys() == before.keys() and all(now[k] is v for k, v in before.items()):
        return
    now.clear()
    now.update(before)
