"""The forecast of the same model with the weights that `ut.init.match_` would give it; no model is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from undertow.foundation import InputError
from undertow.theory.laws import Conv, Law, Linear
from undertow.theory.matching import account_of
from undertow.theory.propagate import propagate

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast


def rematched(forecast: Forecast) -> Forecast | None:
    """None for a blueprint without a model, and for a model without layers that `match_` can set."""
    if forecast.model is None:
        return None
    try:
        stds = {matched.name: matched.std for matched in account_of(forecast.model)}
    except InputError:  # no such layers, or an activation that no size of the weights suits
        return None
    nodes = [
        n._replace(law=_with(n.law, stds[n.site.module]))
        if n.site is not None and not n.site.functional and n.site.module in stds
        else n
        for n in forecast.blueprint.nodes
    ]
    own = {name: name for name in forecast.blueprint.equal}
    blueprint = replace(forecast.blueprint, nodes=nodes, equal=own)
    return replace(forecast, blueprint=blueprint, flow=propagate(blueprint, forecast.cotangent), inputs=None)


def _with(law: Law, std: float) -> Law:
    """The law with weights of this standard deviation and without a bias."""
    if isinstance(law, Linear):
        return replace(law, weight=std**2, bias=0.0, level=0.0, alike=frozenset(), unevenness=law.fan_out / law.fan_in)
    if isinstance(law, Conv):
        return replace(law, taps=torch.full_like(law.taps, std**2), bias=0.0, level=0.0)
    return law
