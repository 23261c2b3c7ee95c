"""Blueprints by hand, for questions about architectures that nobody has built yet."""

from __future__ import annotations

import math

import torch

from undertow.activations import Activation, Pointwise
from undertow.activations import activation as named
from undertow.foundation import Effect, InputError
from undertow.record import Site
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws import Activate, Add, BatchNorm, Given, Law, Linear, UnitNorm
from undertow.theory.laws.normalisation import Affine
from undertow.theory.signal import Layout, Signal

NORMS = ("batch_norm", "layer_norm", "rms_norm")
EPS = 1e-5
"""As torch's layers have it."""


def mlp(
    depth: int,
    width: int,
    activation: str | Activation = "relu",
    *,
    weight_variance: float = 1.0,
    bias_variance: float = 0.0,
    norm: str | None = None,
    residual: bool = False,
    batch: int = 64,
) -> Blueprint:
    """`depth` layers x ← f(norm(W x + b)), or with `residual` x ← x + W f(norm(x)) + b, of `width` units each.

    ::

        print(ut.forecast(ut.blueprint.mlp(50, 512, "tanh", weight_variance=1.0)))

    Parameters
    ----------
    weight_variance, bias_variance:
        σ_w² and σ_b²: weights have the variance σ_w²/width, biases σ_b².  torch's default is 1/3 and 1/(3 width), He's
        initialisation 2 and 0.
    norm:
        "batch_norm", "layer_norm", "rms_norm", or None.
    batch:
        Independent samples of rms 1 that come in; BatchNorm's correction depends on how many.

    Raises
    ------
    InputError
        For sizes below 1, negative variances, another norm, or an activation that is no function of one number.
    UnknownNameError
        For the name of no activation.
    """
    if min(depth, width, batch) < 1 or not (0 <= weight_variance < math.inf and 0 <= bias_variance < math.inf):
        got = f"depth={depth}, width={width}, batch={batch}, variances {weight_variance} and {bias_variance}"
        raise InputError(got, "sizes from 1 on and variances from 0 on", "mlp(50, 512, 'tanh')")
    if norm is not None and norm not in NORMS:
        raise InputError(f"norm={norm!r}", f"one of {', '.join(NORMS)}, or None", "mlp(50, 512, norm='layer_norm')")
    act = named(activation)
    if not isinstance(act, Pointwise):
        raise InputError(f"the activation {act.label}", "a function of one number", "mlp(50, 512, 'tanh')")
    shape = (batch, width)
    linear = Linear(shape, width, width, weight_variance / width, bias_variance)
    between: list[tuple[str, Law]] = [(norm, _norm(norm, shape))] if norm else []
    between.append((act.name, Activate(shape, activation=act)))
    blueprint = Blueprint(f"mlp {depth} × {width}", parameters=depth * width * (width + (bias_variance > 0)))
    here = blueprint.add(Given(shape, signal=_standard(shape)))
    for layer in range(1, depth + 1):
        block = [*between, ("linear", linear)] if residual else [("linear", linear), *between]
        start = here
        for operation, law in block:
            here = blueprint.add(law, here, site=_site(layer, operation, law.effect))
        if residual:
            here = blueprint.add(Add(shape), start, here, site=_site(layer, "add", "branching"))
    blueprint.outputs = [here]
    return blueprint


def _norm(name: str, shape: tuple[int, ...]) -> Law:
    if name == "batch_norm":
        return BatchNorm(shape, affine=Affine(), eps=EPS)
    return UnitNorm(shape, units=shape[-1], affine=Affine(), centred=name == "layer_norm", eps=EPS)


def _site(layer: int, operation: str, effect: Effect) -> Site:
    return Site(f"{operation}{layer}", operation, 0, effect)


def _standard(shape: tuple[int, int]) -> Signal:
    """Independent samples of rms 1."""
    return Signal(Layout(shape, "SF"), torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
