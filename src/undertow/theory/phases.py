"""Every (σ_w², σ_b²) of a rectangle at once: where gradients vanish, where they explode, how deep a network trains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from undertow.theory.critical import at_zero
from undertow.theory.criticality import PER_SCALE
from undertow.theory.function import Function, pointwise
from undertow.theory.interpolate import moments_at

LEAST, MOST = 1e-10, 1e5
"""A variance that leaves these has died, or grows without end.  Our choice."""
STEPS = (200, 1), (100, 20)
"""Layers that are followed one by one, then in strides: what still moves then has |1 − χ∥| of a few percent, so that
strides of 20 layers come near its end as well and do not swing about it.  For a picture."""
SETTLED = 1e-6
"""The change a layer at which a variance has settled."""


class Phases(NamedTuple):
    """Arrays of shape (σ_b², σ_w²)."""

    sigma_w2: np.ndarray
    sigma_b2: np.ndarray
    q: np.ndarray
    """The variance that 1 leads to; 0 where it dies, inf where it grows without end."""
    chi_perp: np.ndarray

    @property
    def trainable_depth(self) -> np.ndarray:
        """6/|ln χ⊥|, as `Criticality.trainable_depth`."""
        with np.errstate(divide="ignore"):
            return PER_SCALE / np.abs(np.log(self.chi_perp))


def phases(act: Function, sigma_w2: np.ndarray, sigma_b2: np.ndarray) -> Phases:
    """For σ_w² > 0 and σ_b² ≥ 0 in one dimension each.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`.
    """
    single = pointwise(act)
    w, b = np.meshgrid(sigma_w2, sigma_b2)
    q, moving = np.ones_like(w), np.ones(w.shape, bool)
    for steps, stride in STEPS:
        for _ in range(steps):
            if not moving.any():
                break
            here = q[moving]
            ratio = (w[moving] * moments_at(single, here).E_f2 + b[moving]) / here
            q[moving] = np.clip(here * ratio**stride, LEAST, MOST)
            ended = (q[moving] == LEAST) | (q[moving] == MOST)
            moving[moving] = (np.abs(ratio - 1) > SETTLED) & ~ended
    chi = w * np.asarray(moments_at(single, q).E_df2)
    dead, endless = q <= LEAST * 1.01, q >= MOST * 0.99
    chi = np.where(dead, w * at_zero(single)[1], chi)
    return Phases(w, b, np.where(dead, 0.0, np.where(endless, np.inf, q)), chi)
