"""Dynamical isometry: how unevenly the Jacobian from the first layer to the last stretches directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from undertow.theory.account import mean_of
from undertow.theory.laws import Activate, Linear

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast


class Isometry(NamedTuple):
    """Of the squared singular values s² of the Jacobian ∂(last site)/∂(first site) of a plain chain."""

    mean: float
    """E[s²], the mean squared factor of the backward value."""
    variance: float
    """Var[s²]/E[s²]²: 0 for an isometry, which orthogonal weights and a slope of 1 give; it grows with the depth."""


def isometry(forecast: Forecast) -> Isometry | None:
    """E[s²] = Π σ_w² μ₁ and Var[s²]/E[s²]² = Σ (μ₂/μ₁² − 1 + κ) over the layers, μ_k = E[f′^{2k}].

    κ is the variance of the squared singular values of a layer's weights over their mean's square: 1 for square normal
    weights, 0 for orthogonal ones, here from the actual rows.  Of square layers with an activation of one derivative a
    unit; None where anything else is on the main path.  Free probability makes the variances of independent factors
    add up: Pennington, Schoenholz, Ganguli (2017), arXiv:1711.04735, equation 14.
    """
    by_site = {n.site: (i, n) for i, n in enumerate(forecast.blueprint.nodes) if n.site is not None}
    variance = 0.0
    for entry in forecast.ledger.path[1:]:
        index, node = by_site[entry.site]
        if isinstance(node.law, Linear):
            variance += node.law.unevenness
        elif isinstance(node.law, Activate):
            variance += _of_slopes(forecast, index)
        else:
            return None
    return Isometry(forecast.end_to_end**2, variance)


def _of_slopes(forecast: Forecast, index: int) -> float:
    """μ₂/μ₁² − 1 = E[f′⁴]/E[f′²]² − 1 at the variance that arrives."""
    node = forecast.blueprint.nodes[index]
    assert isinstance(node.law, Activate)
    m = node.law.moments(forecast.flow.signals[node.inputs[0]])
    second = mean_of(m.E_df2)
    return mean_of(m.E_df4) / second**2 - 1 if second else 0.0
