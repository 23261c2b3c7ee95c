"""Sizes of signals and backward values at random initialisation, by hooks of this test's own, and the forecast's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from undertow.theory.forecast import Forecast, forecast


class Size(NamedTuple):
    forward: float
    backward: float


def measured(model: nn.Module, x: Tensor, modules: list[str]) -> list[Size]:
    """Per module the rms of its output and of the gradient there, for a gradient of rms 1 at the model's output."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output
            outputs[name].retain_grad()

        return hook

    handles = [model.get_submodule(n).register_forward_hook(keep(n)) for n in modules]
    y = model(x)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(cotangent / cotangent.square().mean().sqrt())
    for handle in handles:
        handle.remove()
    found = []
    for name in modules:
        grad = outputs[name].grad
        assert grad is not None
        found.append(Size(_rms(outputs[name].detach()), _rms(grad)))
    return found


def _rms(tensor: Tensor) -> float:
    return float(tensor.double().square().mean().sqrt())


def errors(
    make: Callable[[], nn.Module], batch: Callable[[], Tensor], modules: list[str], seeds: int = 5
) -> list[Size]:
    """Per module the median over seeds of ln(forecast / measured), forward and backward."""
    rows: list[list[Size]] = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model, x = make(), batch()
        theory = forecast(model, x)
        found = []
        for name, true in zip(modules, measured(model, x, modules), strict=True):
            site = of_module(theory, name)
            found.append(Size(math.log(site[0] / true.forward), math.log(site[1] / true.backward)))
        rows.append(found)
    return [Size(*(statistics.median(row[i][k] for row in rows) for k in (0, 1))) for i in range(len(modules))]


def of_module(theory: Forecast, name: str) -> Size:
    """Of the last operation in a module."""
    last = [s for s in theory.sites if s.site.module == name or s.site.module.startswith(f"{name}.")][-1]
    return Size(last.forward_rms, last.backward_rms)
