"""Which activation is this call of a torch function?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from undertow.activations.base import Activation
from undertow.activations.lookup import activation
from undertow.activations.recognition.replay import REPLAYED, replayed
from undertow.foundation import InputError

Values = Mapping[str, Any]
Rule = Callable[[Values], Activation | None]


class Call(NamedTuple):
    """One of torch's functions: its parameters after the input, by position, and the definition that they make."""

    parameters: tuple[str, ...]
    rule: Rule


def number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is(name: str, *parameters: str, required: bool = False) -> Call:
    """The definition of this name; its fields are torch's parameters in the same order."""

    def rule(values: Values) -> Activation | None:
        given = {p: values[p] for p in parameters if p in values}
        if not all(map(number, given.values())) or (required and len(given) < len(parameters)):
            return None
        fields = dict(zip(parameters, activation(name).parameters, strict=False))
        try:
            return activation(name, **{fields[p]: float(v) for p, v in given.items()})
        except InputError:  # torch takes bounds that cross, and numbers that are not finite
            return None

    return Call(parameters, rule)


def _elu(values: Values) -> Activation | None:
    others = [values.get(n, 1) for n in ("scale", "input_scale")]
    return _is("elu", "alpha").rule(values) if all(number(v) and v == 1 for v in others) else None


def _prelu(values: Values) -> Activation | None:
    slope = values.get("weight")
    if not isinstance(slope, Tensor) or not slope.is_floating_point():
        return None
    return activation("prelu", slope=slope.detach())


def _rrelu(values: Values) -> Activation | None:
    """In training the slope is drawn anew for each element: no function."""
    return _is("rrelu", "lower", "upper").rule(values) if values.get("training", False) is False else None


def _gelu(values: Values) -> Activation | None:
    names = {"none": "gelu", "tanh": "gelu_tanh"}
    how = values.get("approximate", "none")
    return activation(names[how]) if isinstance(how, str) and how in names else None


SOFTPLUS_THRESHOLD = 20
"""Where torch goes over to the identity unless told otherwise: a step of 2e-9, which float32 doesn't hold."""


def _softplus(values: Values) -> Activation | None:
    threshold = values.get("threshold", SOFTPLUS_THRESHOLD)
    if not number(threshold) or threshold < SOFTPLUS_THRESHOLD:
        return replayed("softplus", dict(values))
    return _is("softplus", "beta").rule(values)


def _between(low: str, high: str) -> Rule:
    def rule(values: Values) -> Activation | None:
        bounds = values.get(low), values.get(high)
        if not all(b is None or number(b) for b in bounds):
            return None
        for name, ends in (("relu", (0, None)), ("relu6", (0, 6))):
            if bounds == ends:
                return activation(name)
        if None in bounds:
            return replayed("clamp", {"min": bounds[0], "max": bounds[1]})
        return _is("hardtanh", low, high).rule(values)

    return rule


def _along(name: str, dim: object) -> Activation | None:
    return activation(name, dim=dim) if isinstance(dim, int) and not isinstance(dim, bool) else None


def _over(name: str) -> Call:
    """A function of all elements along a dimension."""

    def rule(values: Values) -> Activation | None:
        dim, x = values.get("dim"), values.get("input")
        if dim is None:
            dim = 0 if isinstance(x, Tensor) and x.ndim in (0, 1, 3) else 1  # torch's own choice where none is named
        return _along(name, dim)

    return Call(("dim",), rule)


def _glu(values: Values) -> Activation | None:
    return _along("glu", values.get("dim", -1))


_PLAIN = ["relu", "sigmoid", "tanh", "silu", "mish", "selu", "relu6", "hardswish", "hardsigmoid", "logsigmoid"]
_PLAIN += ["softsign", "tanhshrink", "erf", "sin"]
CALLS: dict[str, Call] = {name: _is(name) for name in _PLAIN} | {
    "atan": _is("arctan"),
    "exp": _is("exponential"),
    "elu": Call(("alpha", "scale", "input_scale"), _elu),
    "celu": _is("celu", "alpha"),
    "leaky_relu": _is("leaky_relu", "negative_slope"),
    "prelu": Call(("weight",), _prelu),
    "rrelu": Call(("lower", "upper", "training"), _rrelu),
    "gelu": Call(("approximate",), _gelu),
    "softplus": Call(("beta", "threshold"), _softplus),
    "softshrink": _is("softshrink", "lambd"),
    "hardshrink": _is("hardshrink", "lambd"),
    "threshold": _is("threshold", "threshold", "value", required=True),
    "hardtanh": Call(("min_val", "max_val"), lambda v: _between("min_val", "max_val")(_UNIT | dict(v))),
    "clamp": Call(("min", "max"), _between("min", "max")),
    "clamp_min": Call(("min",), _between("min", "max")),
    "clamp_max": Call(("max",), _between("min", "max")),
    "softmax": _over("softmax"),
    "log_softmax": _over("log_softmax"),
    "softmin": _over("softmin"),
    "glu": Call(("dim",), _glu),
}
_UNIT = {"min_val": -1.0, "max_val": 1.0}
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
    "special_expit": "sigmoid",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_log_softmax": "log_softmax",
    "special_logit": "logit",
    "special_sinc": "sinc",
    "special_softmax": "softmax",
    "special_digamma": "digamma",
    "special_gammaln": "lgamma",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "__pow__": "pow",
    "__abs__": "abs",
}


def canonical(function_name: str) -> str:
    """The one name of a function, in place or not, torch's or aten's."""
    name = function_name if function_name.endswith("__") else function_name.removesuffix("_")
    return SYNONYMS.get(name, name)


def recognise_call(
    function_name: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> Activation | None:
    """The activation that a call of a torch function is, as a TorchFunctionMode sees it (`func.__name__`).

    In place or not makes no difference.  A pointwise non-linear function that is not in the catalogue comes back as
    a `Custom` that replays it out of place.  None for everything else: it never raises.
    """
    kwargs = dict(kwargs or {})
    x = args[0] if args else kwargs.get("input", kwargs.get("self"))
    if not isinstance(function_name, str) or not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    name = canonical(function_name)
    if name in CALLS:
        call = CALLS[name]
        return call.rule({"input": x, **dict(zip(call.parameters, args[1:], strict=False)), **kwargs})
    order = tuple(n for n, _ in REPLAYED[name].defaults) if name in REPLAYED else ()
    return replayed(name, {**dict(zip(order, args[1:], strict=False)), **kwargs})
