"""torch's own pointwise functions that are not in the catalogue, as definitions that replay the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.custom import Custom

Kinks = Callable[[dict[str, Any]], tuple[float, ...]]


@dataclass(frozen=True)
class Replay:
    """torch's function of this name with these parameters, never in place; equal calls are equal."""

    function: str
    parameters: tuple[tuple[str, float], ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        return REPLAYED[self.function].call(x, **dict(self.parameters))


@dataclass(frozen=True)
class TorchFunction:
    """How torch's function is called, and where it has kinks."""

    call: Callable[..., Tensor]
    defaults: tuple[tuple[str, Any], ...] = ()
    """The parameters after the input, by position; None where there is no default."""
    kinks: Kinks = lambda p: ()


def _at(*where: float) -> Kinks:
    return lambda p: where


def _bounds(p: dict[str, Any]) -> tuple[float, ...]:
    return tuple(float(v) for n in ("min", "max") if (v := p.get(n)) is not None)


_SMOOTH: tuple[Callable[..., Tensor], ...] = (
    torch.exp2,
    torch.expm1,
    torch.log,
    torch.log2,
    torch.log10,
    torch.log1p,
    torch.cos,
    torch.tan,
    torch.asin,
    torch.acos,
    torch.sinh,
    torch.cosh,
    torch.asinh,
    torch.acosh,
    torch.atanh,
    torch.sqrt,
    torch.rsqrt,
    torch.square,
    torch.reciprocal,
    torch.erfc,
    torch.sinc,
    torch.logit,
    torch.digamma,
    torch.lgamma,
)
REPLAYED: dict[str, TorchFunction] = {f.__name__: TorchFunction(f) for f in _SMOOTH} | {
    "abs": TorchFunction(torch.abs, kinks=_at(0.0)),
    "clamp": TorchFunction(torch.clamp, (("min", None), ("max", None)), _bounds),
    "pow": TorchFunction(torch.pow, (("exponent", None),), _at(0.0)),
    "softplus": TorchFunction(
        F.softplus, (("beta", 1.0), ("threshold", 20.0)), lambda p: (p["threshold"] / p["beta"],) if p["beta"] else ()
    ),
}


def replayed(name: str, values: dict[str, Any]) -> Custom | None:
    """The definition of a call; None where the function is unknown or a parameter is no number."""
    function = REPLAYED.get(name)
    if function is None:
        return None
    known = dict(function.defaults)
    given = {n: v for n, v in {**known, **values}.items() if n in known and v is not None}
    required = {n for n, v in known.items() if v is None} - {"min", "max"}
    plain = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given.values())
    if not plain or required - given.keys() or (known and not given):
        return None
    label = ", ".join(f"{n}={v}" for n, v in given.items() if v != known[n])
    return Custom(f"{name}({label})" if label else name, Replay(name, tuple(given.items())), function.kinks(given))
