"""Weights matched to the activations that follow them, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from undertow.activations import Activation, Pointwise, recognise
from undertow.activations import activation as named
from undertow.foundation import InputError, ModelError, say
from undertow.theory.gains import Direction, gain
from undertow.theory.moments import moments

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


@torch.no_grad()
def match_(
    model: nn.Module,
    direction: Direction = "backward",
    activation: str | Activation | None = None,
    generator: torch.Generator | None = None,
) -> Account:
    """W ~ N(0, gain²/fan_in), b = 0, in place, each gain computed for the activation that follows the layer.

    "backward", the default: gain² E[f′(u)²] = 1 with u ~ N(0, gain² · m), m the mean square of the layer's input as
    these weights produce it.  The layer and its activation then leave the size of the backward value as it is, which
    is what decides whether the first layers learn; the forward size follows, is bounded where f is, and stands in
    the account.  The equation is solved at the pre-activations that really occur: a gain computed at variance 1
    (4.72 for sigmoid) makes them larger than 1 and fails at its own aim (20 sigmoid layers leave 1e-3 of the
    gradient; solved, gain 10.2, they leave all of it).

    "forward": gain² m = 1, so that pre-activations have variance 1; the backward value then changes by
    √(E[f′²]/E[f²]) a layer, 0.39 for sigmoid.  For ReLU, Leaky ReLU and PReLU the two are He's initialisation.

    The last layer gets gain 1.  Where a normalisation follows a layer, u has variance 1 whatever the weights.  Only
    Linear and convolution layers are set, in the order in which they were registered, taken as the order of calls;
    a call of `F.relu` can't be seen: `activation=` names what follows a layer that no activation module follows.
    Residual additions and pooling are not accounted for.

    Returns
    -------
    Account
        (name, activation, gain, std, rms) of each layer; `print` it.

    Raises
    ------
    ModelError
        Where there is no such layer, or its weight can't be set (lazy, or computed by a parametrization).
    InputError, UnknownNameError
        For an unknown direction or activation.

    References
    ----------
    He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Schoenholz, Gilmer, Ganguli, Sohl-Dickstein (2017),
    arXiv:1611.01232 (the critical line, which the gains of a deep net converge to).
    """
    if direction not in ("forward", "backward"):
        raise InputError(f"the direction {direction!r}", "'forward' or 'backward'", "match_(model)")
    layers = _layers(model)
    account = _account(layers, direction, None if activation is None else named(activation))
    for layer, matched in zip(layers, account, strict=True):
        weight, bias = layer.module.weight, layer.module.bias
        assert isinstance(weight, Tensor)
        weight.normal_(0, matched.std, generator=generator)
        if isinstance(bias, Tensor):
            bias.zero_()
    return account


def _account(layers: list[_Weights], direction: Direction, default: Activation | None) -> Account:
    """What each layer is to be given, computed before any is changed."""
    rows, square = [], 1.0
    for layer in layers:
        last = layer is layers[-1]
        follower = None if last else layer.follower or default
        square = 1.0 if layer.input_normalised else square
        g = 1.0 if last else _gain(follower, square, direction, layer.output_normalised)
        std = g / math.sqrt(_fan_in(layer.module))
        rows.append(Matched(layer.name, follower.label if follower else "", g, std, g * math.sqrt(square)))
        square = _mean_square(follower, 1.0 if layer.output_normalised else g * g * square)
    return Account(rows)


def _mean_square(follower: Activation | None, variance: float) -> float:
    """E[f(u)²] of what leaves the activation for pre-activations of this variance."""
    square = moments(follower, variance).E_f2 if isinstance(follower, Pointwise) else variance
    if follower is not None and not 0 < square < math.inf:
        got = f"{follower.label}, whose mean square is {square:g} at variance {variance:g}"
        raise InputError(got, "an activation with a mean square above 0", "match_(model, activation='relu')")
    return square


def _layers(model: nn.Module) -> list[_Weights]:
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


def _gain(follower: Activation | None, square: float, direction: Direction, normalised: bool) -> float:
    """The gain of a layer whose input has this mean square."""
    # the funnel keeps both sizes at variance 1: of max(x, T), T as large as x, each takes half of the gradient
    if direction == "forward" or (follower is not None and not isinstance(follower, Pointwise)):
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
