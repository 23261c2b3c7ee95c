"""The gain that each layer needs for the activation that follows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from torch import Tensor, nn

from undertow.activations import Activation, Pointwise, recognise
from undertow.foundation import InputError, ModelError, say
from undertow.theory.critical import Critical, critical_point, half_stable
from undertow.theory.gains import gain
from undertow.theory.moments import moments

Target = Literal["backward", "forward", "critical"]
"""What the weights are to keep: the backward value, the variance of pre-activations, or both with biases."""

Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Weighted = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *Transposed)
Normalisation = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


class Matched(NamedTuple):
    """What one layer was given."""

    name: str
    activation: str
    """The activation that follows it; empty where none does."""
    gain: float
    std: float
    """gain / √fan_in, the standard deviation of its weights."""
    bias: float
    """The standard deviation of its biases."""
    rms: float
    """What theory expects of its output's root mean square, for inputs of the model of rms 1."""


class Account(tuple[Matched, ...]):
    """The layers in order; printed, a table."""

    def __str__(self) -> str:
        heads = [say(f"theory.account.{n}") for n in Matched._fields]
        rows = [[m.name, m.activation or "-", *(f"{v:.4g}" for v in m[2:])] for m in self]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [heads, *rows])


@dataclass
class _Weights:
    """A layer with weights, and what comes between it and the next one."""

    name: str
    module: nn.Module
    input_normalised: bool
    output_normalised: bool = False
    follower: Activation | None = None


def account_of(model: nn.Module, target: Target = "backward", default: Activation | None = None) -> Account:
    """What `match_` would give each layer; the model is not changed.

    Raises
    ------
    As `match_`.
    """
    layers = layers_of(model)
    rows, square = [], 1.0
    for layer in layers:
        last = layer is layers[-1]
        follower = None if last else layer.follower or default
        square = 1.0 if layer.input_normalised else square
        biased = isinstance(layer.module.bias, Tensor) and not layer.output_normalised
        g, bias = (1.0, 0.0) if last else _gain(follower, square, target, layer.output_normalised, biased)
        std, variance = g / math.sqrt(_fan_in(layer.module)), g * g * square + bias * bias
        rows.append(Matched(layer.name, follower.label if follower else "", g, std, bias, math.sqrt(variance)))
        square = _mean_square(follower, 1.0 if layer.output_normalised else variance)
    return Account(rows)


def _mean_square(follower: Activation | None, variance: float) -> float:
    """E[f(u)²] of what leaves the activation for pre-activations of this variance."""
    square = moments(follower, variance).E_f2 if isinstance(follower, Pointwise) else variance
    if follower is not None and not 0 < square < math.inf:
        got = f"{follower.label}, whose mean square is {square:g} at variance {variance:g}"
        raise InputError(got, "an activation with a mean square above 0", "match_(model, activation='relu')")
    return square


def layers_of(model: nn.Module) -> list[_Weights]:
    """The layers with weights in order, each with the activation that follows before the next one."""
    found: list[_Weights] = []
    normalised = False
    for name, module in _leaves(model):
        if isinstance(module, Weighted):
            if any(module is layer.module for layer in found):
                continue
            found.append(_Weights(name, module, normalised))
            normalised = False
        elif isinstance(module, Normalisation):
            normalised = True
            if found and found[-1].follower is None:
                found[-1].output_normalised = True
        elif (act := recognise(module)) is not None and found:
            found[-1].follower = found[-1].follower or act
            normalised = False
    if not found:
        example = "match_(nn.Sequential(nn.Linear(8, 8)))"
        raise ModelError("a model without Linear or convolution layers", "at least one", example)
    return found


def _leaves(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Modules without children in order of registration; weights and activations count as one whatever is in them."""
    children = [(n, c) for n, c in module._modules.items() if c is not None]  # named_children leaves out repeats
    if not children or isinstance(module, Weighted) or recognise(module) is not None:
        yield name, module
        return
    for inner, child in children:
        yield from _leaves(child, f"{name}.{inner}" if name else inner)


def _gain(
    follower: Activation | None, square: float, target: Target, normalised: bool, biased: bool
) -> tuple[float, float]:
    """The gain and the biases' standard deviation of a layer whose input has this mean square."""
    if target == "critical" and isinstance(follower, Pointwise) and not normalised:
        point = _critical(follower)
        # at 0 it is the limit of small inputs, which the backward gain leads to as well
        if point.q and (biased or not point.sigma_b2):
            return math.sqrt((point.q - point.sigma_b2) / square), point.sigma_b
    return _without_bias(follower, square, target, normalised), 0.0


def _without_bias(follower: Activation | None, square: float, target: Target, normalised: bool) -> float:
    # the funnel keeps both sizes at variance 1: of max(x, T), T as large as x, each takes half of the gradient
    if target == "forward" or (follower is not None and not isinstance(follower, Pointwise)):
        return 1 / math.sqrt(square)
    if follower is None:
        return 1.0
    if normalised:
        return gain(follower, "backward")
    start = gain(follower, "backward", square)
    solved = _root(lambda g: g * g * moments(follower, g * g * square).E_df2, start)
    if solved is None:
        got = f"{follower.label}, with which no size of the weights keeps the backward value's size"
        raise InputError(got, "an activation whose derivative has a mean square", "match_(model, 'forward')")
    return solved


def _critical(act: Pointwise) -> Critical:
    """The critical point at which the variance also stays: the half-stable one, else that at variance 1, else the
    one without biases."""
    return _point(act) if act.tensors else _point_once(act)


def _point(act: Pointwise) -> Critical:
    point = half_stable(act)
    if point is None or not point.feasible:
        point = critical_point(act, q=1.0)
    return point if point.feasible and point.holds else critical_point(act, sigma_b2=0.0)


_point_once = lru_cache(maxsize=256)(_point)


def _root(h: Callable[[float], float], start: float) -> float | None:
    """x > 0 with h(x) = 1, for h that rises from below 1 to above: regula falsi (Illinois) in log h against log x.

    None where 100 steps don't find it, or h leaves the positive numbers.
    """
    a = b = math.log(start)
    fa = fb = _log(h(start))
    for _ in range(100):
        if abs(fb) < 1e-13:  # at 1 ± 1e-13 a thousand layers are off by 1e-10
            return math.exp(b)
        bracketed = fa * fb < 0
        c = b - fb * (b - a) / (fb - fa) if bracketed else b - math.copysign(0.5, fb)
        fc = _log(h(math.exp(c)))
        a, fa = (a, fa / 2) if bracketed and fc * fb > 0 else (b, fb)
        b, fb = c, fc
        if math.isnan(fb):
            break
    return None


def _log(size: float) -> float:
    return math.log(size) if 0 < size < math.inf else math.nan


def _fan_in(module: nn.Module) -> float:
    """How many products one output element is the sum of."""
    weight = module.weight
    if isinstance(weight, nn.parameter.UninitializedParameter) or not isinstance(weight, Tensor):
        got = f"a {type(module).__name__} that has no weights yet"
        raise ModelError(got, "weights, which a first batch makes", "model(batch), then match_(model)")
    if "weight" not in dict(module.named_parameters(recurse=False)):
        raise ModelError(
            f"a {type(module).__name__} whose weight is computed by a parametrization",
            "a weight of its own",
            "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')",
        )
    fan = math.prod(weight.shape[1:])
    if isinstance(module, Transposed):
        # its weight is (in, out/groups, ...), and a stride spreads the window's products over the outputs
        fan = module.in_channels // module.groups * math.prod(weight.shape[2:]) / math.prod(module.stride)
    return fan
