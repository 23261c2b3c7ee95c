"""Gains: how large weights must be for an activation to keep the size of the signal, or of the gradient."""

from __future__ import annotations

import math
from typing import Literal

from undertow.activations import Activation
from undertow.foundation import InputError
from undertow.theory.moments import Moments, moments

Direction = Literal["forward", "backward"]


def gain(act: str | Activation, direction: Direction = "forward", q: float = 1.0) -> float:
    """forward: 1/√E[f²] · √q;  backward: 1/√E[f′²];  u ~ N(0, q), by quadrature, for weights N(0, gain²/fan_in).

    The forward gain gives the next pre-activation the variance q again; the backward gain gives the backward value
    the mean square it had.  They are equal only where f is positively homogeneous (ReLU, Leaky ReLU, the identity):
    there f(x) = x f′(x).  Else no one number keeps both: at the forward gain of tanh (1.593; the backward one is
    1.467) the backward value grows by 8.5 % a layer.  q matters too: what keeps the gradient at q = 1 shrinks it at
    q = 6, where more units are saturated.

    `torch.nn.init.calculate_gain` is a table of a few names: √2 for ReLU and √(2/(1+a²)) for Leaky ReLU are exact,
    5/3 for tanh and 3/4 for SELU are empirical, and its 1 for sigmoid is no gain of sigmoid (1.846 forward, 4.723
    backward).  SiLU, ELU, PReLU and others raise ValueError there.

    Raises
    ------
    UnknownNameError, InputError
        As `moments` does; InputError for another direction, and where f or f′ is 0 everywhere.

    References
    ----------
    He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Poole et al. (2016), arXiv:1606.05340; Schoenholz et al. (2017),
    arXiv:1611.01232.
    """
    if direction not in ("forward", "backward"):
        raise InputError(f"the direction {direction!r}", "'forward' or 'backward'", "gain('tanh', 'backward')")
    m: Moments = moments(act, q)
    size = m.E_f2 / q if direction == "forward" else m.E_df2
    if not (0 < size < math.inf):
        name = act if isinstance(act, str) else act.label
        raise InputError(f"{name}, whose mean square at q={q:g} is {size:g}", "one above 0 and finite", "gain('relu')")
    return 1 / math.sqrt(size)
