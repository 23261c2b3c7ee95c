"""Which activation is this?  A name, a module, or a call of a torch function, as a definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from undertow.activations.base import ACTIVATIONS, Activation
from undertow.activations.functions.exponential import ELU
from undertow.activations.functions.gated import Swish
from undertow.activations.functions.normalising import Softmax
from undertow.activations.functions.rectified import LeakyReLU, PReLU, ReLU
from undertow.activations.functions.sigmoidal import Sigmoid, Tanh
from undertow.activations.layers import ActivationLayer, FunnelReLU
from undertow.activations.lookup import activation
from undertow.activations.replay import FUNCTIONS, SYNONYMS, replayed

Values = dict[str, Any]


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _leaky(values: Values) -> Activation | None:
    slope = values.get("negative_slope", 0.01)
    return LeakyReLU(slope=float(slope)) if _number(slope) else None


def _prelu(values: Values) -> Activation | None:
    slope = values.get("weight")
    return PReLU(slope=slope.detach()) if isinstance(slope, Tensor) and slope.is_floating_point() else None


def _rrelu(values: Values) -> Activation | None:
    """In evaluation the random slope is its mean: a Leaky ReLU."""
    low, high, training = (values.get(n, d) for n, d in (("lower", 1 / 8), ("upper", 1 / 3), ("training", False)))
    return LeakyReLU(slope=(low + high) / 2) if _number(low) and _number(high) and training is False else None


def _elu(values: Values) -> Activation | None:
    alpha, others = values.get("alpha", 1.0), [values.get(n, 1) for n in ("scale", "input_scale")]
    return ELU(alpha=float(alpha)) if _number(alpha) and all(_number(v) and v == 1 for v in others) else None


def _softmax(values: Values) -> Activation | None:
    dim, x = values.get("dim"), values.get("input")
    if dim is None and isinstance(x, Tensor):
        dim = 0 if x.ndim in (0, 1, 3) else 1  # torch's own choice where none is named
    return Softmax(dim=dim) if isinstance(dim, int) and not isinstance(dim, bool) else None


def _clamp(values: Values) -> Activation | None:
    low, high = values.get("min"), values.get("max")
    return ReLU() if high is None and _number(low) and low == 0 else replayed("clamp", values)


_CALLS: dict[str, tuple[tuple[str, ...], Callable[[Values], Activation | None]]] = {
    "relu": ((), lambda v: ReLU()),
    "sigmoid": ((), lambda v: Sigmoid()),
    "special_expit": ((), lambda v: Sigmoid()),
    "tanh": ((), lambda v: Tanh()),
    "silu": ((), lambda v: Swish()),
    "leaky_relu": (("negative_slope",), _leaky),
    "prelu": (("weight",), _prelu),
    "rrelu": (("lower", "upper", "training"), _rrelu),
    "elu": (("alpha", "scale", "input_scale"), _elu),
    "softmax": (("dim",), _softmax),
    "clamp": (("min", "max"), _clamp),
    "clamp_min": (("min",), _clamp),
}


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
    name = function_name if function_name.endswith("__") else function_name.removesuffix("_")
    name = SYNONYMS.get(name, name)
    if name in _CALLS:
        order, make = _CALLS[name]
        return make({"input": x, **dict(zip(order, args[1:], strict=False)), **kwargs})
    order = tuple(n for n, _ in FUNCTIONS[name].defaults) if name in FUNCTIONS else ()
    return replayed(name, {**dict(zip(order, args[1:], strict=False)), **kwargs})


def _call(name: str, *parameters: str) -> Callable[[Any], Activation | None]:
    """A module that calls this function with these of its attributes."""

    def make(module: Any) -> Activation | None:
        values = {p: getattr(module, p) for p in parameters}
        return _CALLS[name][1](values) if name in _CALLS else replayed(name, values)

    return make


_MODULES: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    ActivationLayer: lambda m: m.definition,
    FunnelReLU: lambda m: m.definition,
    nn.ReLU: _call("relu"),
    nn.Sigmoid: _call("sigmoid"),
    nn.Tanh: _call("tanh"),
    nn.SiLU: _call("silu"),
    nn.LeakyReLU: _call("leaky_relu", "negative_slope"),
    nn.PReLU: _call("prelu", "weight"),
    nn.ELU: _call("elu", "alpha"),
    nn.Softmax: lambda m: Softmax(dim=1 if m.dim is None else m.dim),
    nn.RReLU: _call("rrelu", "lower", "upper", "training"),
    nn.ReLU6: _call("relu6"),
    nn.GELU: _call("gelu", "approximate"),
    nn.SELU: _call("selu"),
    nn.CELU: _call("celu", "alpha"),
    nn.Softplus: _call("softplus", "beta", "threshold"),
    nn.Mish: _call("mish"),
    nn.Hardtanh: _call("hardtanh", "min_val", "max_val"),
    nn.Hardswish: _call("hardswish"),
    nn.Hardsigmoid: _call("hardsigmoid"),
    nn.LogSigmoid: _call("logsigmoid"),
    nn.Softsign: _call("softsign"),
    nn.Tanhshrink: _call("tanhshrink"),
    nn.Softshrink: _call("softshrink", "lambd"),
    nn.Hardshrink: _call("hardshrink", "lambd"),
    nn.Threshold: _call("threshold", "threshold", "value"),
}


def recognise(thing: object) -> Activation | None:
    """The activation that a name, a definition or a module is; None for anything else, `nn.Identity` among it.

    A module of a subclass counts where it has not written a forward of its own.
    """
    if isinstance(thing, Activation):
        return thing
    if isinstance(thing, str):
        return activation(thing) if thing in ACTIVATIONS else None
    for cls in type(thing).__mro__:
        if cls in _MODULES:
            return _MODULES[cls](thing) if type(thing).forward is cls.forward else None  # pyright: ignore
    return None
