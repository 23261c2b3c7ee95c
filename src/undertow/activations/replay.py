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
    parameters: tuple[tuple[str, float | str], ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.function].call(x, **dict(self.parameters))


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
    return tuple(float(v) for n in ("min", "max", "min_val", "max_val") if (v := p.get(n)) is not None)


_SMOOTH: tuple[Callable[..., Tensor], ...] = (
    torch.exp,
    torch.exp2,
    torch.expm1,
    torch.log,
    torch.log2,
    torch.log10,
    torch.log1p,
    torch.sin,
    torch.cos,
    torch.tan,
    torch.asin,
    torch.acos,
    torch.atan,
    torch.sinh,
    torch.cosh,
    torch.asinh,
    torch.acosh,
    torch.atanh,
    torch.sqrt,
    torch.rsqrt,
    torch.square,
    torch.reciprocal,
    torch.erf,
    torch.erfc,
    torch.sinc,
    torch.logit,
    F.mish,
    F.tanhshrink,
    torch.digamma,
    torch.lgamma,
)
FUNCTIONS: dict[str, TorchFunction] = {f.__name__: TorchFunction(f) for f in _SMOOTH} | {
    "abs": TorchFunction(torch.abs, kinks=_at(0.0)),
    "celu": TorchFunction(F.celu, (("alpha", 1.0),), _at(0.0)),
    "clamp": TorchFunction(torch.clamp, (("min", None), ("max", None)), _bounds),
    "clamp_max": TorchFunction(torch.clamp_max, (("max", None),), _bounds),
    "clamp_min": TorchFunction(torch.clamp_min, (("min", None),), _bounds),
    "gelu": TorchFunction(F.gelu, (("approximate", "none"),)),
    "hardshrink": TorchFunction(F.hardshrink, (("lambd", 0.5),), lambda p: (-p["lambd"], p["lambd"])),
    "hardsigmoid": TorchFunction(F.hardsigmoid, kinks=_at(-3.0, 3.0)),
    "hardswish": TorchFunction(F.hardswish, kinks=_at(-3.0, 3.0)),
    "hardtanh": TorchFunction(F.hardtanh, (("min_val", -1.0), ("max_val", 1.0)), _bounds),
    "logsigmoid": TorchFunction(F.logsigmoid),
    "pow": TorchFunction(torch.pow, (("exponent", None),), _at(0.0)),
    "relu6": TorchFunction(F.relu6, kinks=_at(0.0, 6.0)),
    "selu": TorchFunction(F.selu, kinks=_at(0.0)),
    "softplus": TorchFunction(F.softplus, (("beta", 1.0), ("threshold", 20.0))),
    "softshrink": TorchFunction(F.softshrink, (("lambd", 0.5),), lambda p: (-p["lambd"], p["lambd"])),
    "softsign": TorchFunction(F.softsign, kinks=_at(0.0)),
    "threshold": TorchFunction(F.threshold, (("threshold", None), ("value", None)), lambda p: (p["threshold"],)),
}
SYNONYMS = {
    "_threshold": "threshold",
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
    "clip": "clamp",
    "log_sigmoid": "logsigmoid",
    "special_erf": "erf",
    "special_erfc": "erfc",
    "special_exp2": "exp2",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_logit": "logit",
    "special_sinc": "sinc",
    "special_digamma": "digamma",
    "special_gammaln": "lgamma",
    "__pow__": "pow",
}


def replayed(name: str, values: dict[str, Any]) -> Custom | None:
    """The definition of a call; None where the function is unknown or a parameter is no number or word."""
    function = FUNCTIONS.get(name)
    if function is None:
        return None
    known = dict(function.defaults)
    given = {n: v for n, v in {**known, **values}.items() if n in known and v is not None}
    required = {n for n, v in known.items() if v is None} - {"min", "max"}
    plain = all(isinstance(v, (int, float, str)) and not isinstance(v, bool) for v in given.values())
    if not plain or required - given.keys() or (known and not given):
        return None
    label = ", ".join(f"{n}={v}" for n, v in given.items() if v != known[n])
    return Custom(f"{name}({label})" if label else name, Replay(name, tuple(given.items())), function.kinks(given))
