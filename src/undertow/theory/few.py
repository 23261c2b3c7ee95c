"""Moments of an activation behind BatchNorm over few places, whose values have lighter tails than normal ones."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from undertow.activations import Pointwise
from undertow.theory.moments import Moments, moments
from undertow.theory.quadrature import gaussian_nodes


class Few(NamedTuple):
    """Expectations over one value u of n normalised ones."""

    moments: Moments
    square: float
    """E[f′(u)² u²]"""
    product: float
    """E[f′(u) u]"""


@lru_cache(maxsize=256)
def few(activation: Pointwise, q: float, places: int = 0) -> Few:
    """Of n values with sum 0 and mean square q, drawn evenly from those: from a sphere of n − 1 dimensions.

    One of them has the density ∝ (1 − u²/(q (n − 1)))^((n − 4)/2) for n > 4; as n grows, and for n = 0 here, that of
    N(0, q).
    """
    u, w = gaussian_nodes(0.0, q, activation.kinks)
    if places > 4:
        inside = np.clip(1 - u**2 / (q * (places - 1)), 0, None)
        w = w * np.where(inside > 0, np.exp(((places - 4) * np.log(np.maximum(inside, 1e-300)) + u**2 / q) / 2), 0)
        w /= w.sum()
    x = torch.from_numpy(u).unsqueeze(1).expand(-1, activation.channels)
    with torch.no_grad():
        f, slope = activation(x), activation.derivative(x)

    def mean(values: torch.Tensor) -> float:
        return float(w @ values.mean(1).numpy())

    squares = slope.square()
    found = dataclasses.replace(
        moments(activation, q),
        E_f=mean(f),
        E_f2=mean(f.square()),
        E_df=mean(slope),
        E_df2=mean(squares),
        E_df4=mean(squares.square()),
    )
    return Few(found, mean(squares * x.square()), mean(slope * x))
