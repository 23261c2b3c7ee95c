"""Gaussian moments of an activation: what a wide layer does to the size of the signal and of the gradient."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from undertow.activations import Activation, Pointwise, activation
from undertow.foundation import InputError
from undertow.theory.quadrature import gaussian_nodes


@dataclass(frozen=True)
class Moments:
    """Expectations over u ~ N(mean, q), averaged over channels where a parameter differs by channel."""

    E_f: float
    """E[f(u)]"""
    E_f2: float
    """E[f(u)²]: the mean square of the layer's output."""
    E_df: float
    """E[f′(u)], away from jumps of f."""
    E_df2: float
    """E[f′(u)²]: the factor by which the activation changes the mean square of the backward value."""
    E_df4: float
    """E[f′(u)⁴]: how unevenly the units do so."""


def moments(act: str | Activation, q: float = 1.0, mean: float = 0.0) -> Moments:
    """E[f], E[f²], E[f′], E[f′²], E[f′⁴] for pre-activations u ~ N(mean, q).

    Piecewise Gauss-Legendre in float64; relative error below 1e-12 for q ≤ 4 and below 1e-10 at q = 100.

    Raises
    ------
    UnknownNameError
        For the name of no activation.
    InputError
        For a variance that is not positive and finite, and an activation that couples elements (softmax, funnel).
    """
    act = activation(act)
    if not (math.isfinite(q) and q > 0 and math.isfinite(mean)):
        got = f"q={q!r} and mean={mean!r}"
        raise InputError(got, "a positive finite variance and a finite mean", "moments('relu', q=1.0)")
    if not isinstance(act, Pointwise):
        raise InputError(f"{act.name}, which couples several elements", "a pointwise activation", "moments('relu')")
    if not act.tensors:
        return _computed_once(act, q, mean)
    detached = {n: v.detach().double().cpu() for n, v in act.tensors.items()}
    return _computed(dataclasses.replace(act, **detached), q, mean)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=4096)
def _computed_once(act: Pointwise, q: float, mean: float) -> Moments:
    return _computed(act, q, mean)


def _computed(act: Pointwise, q: float, mean: float) -> Moments:
    x, w = gaussian_nodes(mean, q, act.kinks)
    u = torch.from_numpy(x).unsqueeze(1).expand(-1, act.channels)
    with torch.no_grad():
        f, df = act(u), act.derivative(u)
    powers = (f, f.square(), df, df.square(), df.square().square())
    return Moments(*(_expected(values, w) for values in powers))


def _expected(values: Tensor, w: np.ndarray) -> float:
    return float(w @ values.mean(dim=1).numpy())
