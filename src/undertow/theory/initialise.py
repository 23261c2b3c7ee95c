"""Weights matched to the activations that follow them, layer by layer."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from undertow.activations import Activation
from undertow.activations import activation as named
from undertow.foundation import InputError
from undertow.theory.matching import Account, Target, account_of, layers_of

Distribution = Literal["normal", "uniform", "truncated_normal", "orthogonal"]
CUT = 2.0
"""Where the truncated normal ends, in standard deviations of the normal that is cut; as in Keras and timm."""


@torch.no_grad()
def match_(
    model: nn.Module,
    direction: Target = "backward",
    activation: str | Activation | None = None,
    generator: torch.Generator | None = None,
    distribution: Distribution = "normal",
) -> Account:
    """W of mean 0 and variance gain²/fan_in, in place, each gain computed for the activation that follows the layer.

    "backward", the default: gain² E[f′(u)²] = 1 with u ~ N(0, gain² · m), m the mean square of the layer's input as
    these weights produce it; b = 0.  The layer and its activation then leave the size of the backward value as it is,
    which is what decides whether the first layers learn; the forward size follows, is bounded where f is, and stands
    in the account.  The equation is solved at the pre-activations that really occur: a gain computed at variance 1
    (4.72 for sigmoid) makes them larger than 1 and fails at its own aim (20 sigmoid layers leave 1e-3 of the
    gradient; solved, gain 10.2, they leave all of it).

    "forward": gain² m = 1 and b = 0, so that pre-activations have variance 1; the backward value then changes by
    √(E[f′²]/E[f²]) a layer, 0.39 for sigmoid.  For ReLU, Leaky ReLU and PReLU the two are He's initialisation.

    "critical": both sizes are kept, with b ~ N(0, σ_b²): the half-stable point where there is one (GELU, SiLU, Mish:
    see `half_stable`), else the critical point at variance 1 (tanh, ELU), else the one without biases (sigmoid).  The
    first layer brings the variance there, from inputs of rms 1.

    `distribution`: "normal"; "uniform", ±√3 gain/√fan_in; "truncated_normal", cut at two standard deviations and
    widened so that the variance is as said; "orthogonal", rows or columns of one length and at right angles.

    The last layer gets gain 1.  Where a normalisation follows a layer, u has variance 1 whatever the weights.  Only
    Linear and convolution layers are set, in the order in which they were registered, taken as the order of calls;
    a call of `F.relu` can't be seen: `activation=` names what follows a layer that no activation module follows.
    Residual additions and pooling are not accounted for.

    Returns
    -------
    Account
        (name, activation, gain, std, bias, rms) of each layer; `print` it.

    Raises
    ------
    ModelError
        Where there is no such layer, or its weight can't be set (lazy, or computed by a parametrization).
    InputError, UnknownNameError
        For an unknown direction, distribution or activation.

    References
    ----------
    He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Schoenholz, Gilmer, Ganguli, Sohl-Dickstein (2017),
    arXiv:1611.01232 (the critical line, which the gains of a deep net converge to); Saxe, McClelland, Ganguli (2014),
    arXiv:1312.6120 (orthogonal); Roberts, Yaida, Hanin (2022), arXiv:2106.10165 (the half-stable point).
    """
    for what, given, kinds in (("direction", direction, Target), ("distribution", distribution, Distribution)):
        if given not in get_args(kinds):
            known = ", ".join(map(repr, get_args(kinds)))
            raise InputError(f"the {what} {given!r}", f"one of {known}", "match_(model)")
    layers = layers_of(model)
    account = account_of(model, direction, None if activation is None else named(activation))
    for layer, matched in zip(layers, account, strict=True):
        weight, bias = layer.module.weight, layer.module.bias
        assert isinstance(weight, Tensor)
        _draw(weight, matched.std, distribution, generator)
        if isinstance(bias, Tensor):
            bias.normal_(0, matched.bias, generator=generator) if matched.bias else bias.zero_()
    return account


def _draw(weight: Tensor, std: float, distribution: Distribution, generator: torch.Generator | None) -> None:
    """Fill with numbers of mean 0 and variance std²."""
    if distribution == "normal":
        weight.normal_(0, std, generator=generator)
    elif distribution == "uniform":
        weight.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)
    elif distribution == "truncated_normal":
        wider = std / math.sqrt(_kept(CUT))
        nn.init.trunc_normal_(weight, 0.0, wider, -CUT * wider, CUT * wider, generator=generator)
    else:
        # the mean square of the elements of a matrix with orthonormal rows or columns is 1 over its longer side
        longer = max(weight.shape[0], weight[0].numel())
        wide = torch.empty_like(weight, dtype=torch.float32 if weight.dtype.itemsize < 4 else weight.dtype)
        weight.copy_(nn.init.orthogonal_(wide, std * math.sqrt(longer), generator=generator))


def _kept(cut: float) -> float:
    """The variance of a standard normal that is cut at ± this."""
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    return 1 - 2 * cut * density / math.erf(cut / math.sqrt(2))
