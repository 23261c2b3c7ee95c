"""Gauss-Legendre quadrature against a Gaussian, split where the function is not smooth.

Gauss-Hermite is not used: its nodes ignore kinks, and it is off by 1e-2 for ELU's f′² at 16 nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

NODES = 40
"""Nodes a panel.  Panels are at most one standard deviation wide and, near 0, at most as wide as they are far from
0: the error of a function whose nearest pole is as far as a panel is wide is below 2.6^−80."""
REACH = 14
"""Standard deviations to either side; beyond them lies less than 1e-43 of the weight."""
FINEST, WIDEST = -12, 6
"""Panels are graded around 0 and each kink from 2^FINEST to 2^WIDEST, the scales of activation functions."""


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(NODES)


def gaussian_nodes(mean: float, variance: float, kinks: Iterable[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """x and w, both of shape (n,) in float64, with Σ w g(x) = E[g(u)] for u ~ N(mean, variance).

    g may have kinks and jumps at `kinks` and at 0.
    """
    deviation = math.sqrt(variance)
    low, high = mean - REACH * deviation, mean + REACH * deviation
    graded = 2.0 ** np.arange(FINEST, WIDEST + 1)
    splits = [mean + deviation * np.arange(-REACH, REACH + 1)]
    for centre in {0.0, *kinks}:
        splits += [np.array([centre]), centre + graded, centre - graded]
    edges = np.unique(np.concatenate(splits).clip(low, high))
    nodes, weights = _legendre()
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * nodes).ravel()
    density = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    return x, (half[:, None] * weights).ravel() * density
