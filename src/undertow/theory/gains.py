"""Gains: how large weights must be for an activation to keep the size of the signal, or of the gradient."""

from __future__ import annotations

import math
from typing import Literal

from undertow.foundation import InputError
from undertow.theory.function import Function, pointwise
from undertow.theory.moments import Moments, moments

Direction = Literal["forward", "backward", "standardised"]
"""What a gain keeps: the mean square, the gradient, or the variance of the layer's output."""


def gain(act: Function, direction: Direction = "forward", q: float = 1.0) -> float:
    """forward: √q/√E[f²];  backward: 1/√E[f′²];  standardised: √q/√Var f;  u ~ N(0, q), weights N(0, gain²/fan_in).

    The forward gain gives the next pre-activation the variance q again; the backward gain gives the backward value
    the mean square it had; the standardised gain is for weights with mean 0 over each unit's inputs (weight
    standardisation, NFNets), which leave out the mean of f.  Forward and backward are equal only where f is
    positively homogeneous (ReLU, Leaky ReLU, the identity): there f(x) = x f′(x).  Else no one number keeps both: at
    the forward gain of tanh (1.593; the backward one is 1.467) the backward value grows by 8.5 % a layer.  q matters
    too: what keeps the gradient at q = 1 shrinks it at q = 6, where more units are saturated.

    `act` is a name, an activation, its module, or any function of a tensor, as for `moments`.

    `torch.nn.init.calculate_gain` is a table of a few names: √2 for ReLU and √(2/(1+a²)) for Leaky ReLU are exact,
    5/3 for tanh and 3/4 for SELU are empirical, and its 1 for sigmoid is no gain of sigmoid (1.846 forward, 4.723
    backward).  SiLU, ELU, PReLU and others raise ValueError there.  docs/gains.md compares them all.

    Raises
    ------
    UnknownNameError, InputError
        As `moments` does; InputError for another direction, and where f or f′ is 0 everywhere.

    References
    ----------
    He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Poole et al. (2016), arXiv:1606.05340; Schoenholz et al. (2017),
    arXiv:1611.01232; Brock, De, Smith (2021), arXiv:2101.08692 (standardised).
    """
    if direction not in ("forward", "backward", "standardised"):
        expected = "'forward', 'backward' or 'standardised'"
        raise InputError(f"the direction {direction!r}", expected, "gain('tanh', 'backward')")
    m: Moments = moments(act, q)
    variance = m.variance if m.variance > 1e-14 * m.E_f2 else 0.0  # less is rounding
    size = {"forward": m.E_f2 / q, "backward": m.E_df2, "standardised": variance / q}[direction]
    if not (0 < size < math.inf):
        got = f"{pointwise(act).label}, whose mean square at q={q:g} is {size:g}"
        raise InputError(got, "one above 0 and finite", "gain('relu')")
    return 1 / math.sqrt(size)
