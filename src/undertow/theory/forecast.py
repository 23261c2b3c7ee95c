"""What the gradient of a real model will do, before its first step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from undertow.foundation import Effect, Finding, InputError, UnknownNameError
from undertow.record import Entry, Ledger, Site
from undertow.record import flow as flows
from undertow.theory import depth, doubts
from undertow.theory.account import expected, median_rms
from undertow.theory.blueprint import Blueprint
from undertow.theory.laws.recurrent import Recurrent, ThroughTime
from undertow.theory.propagate import Flow, propagate
from undertow.theory.reading import read
from undertow.theory.signal import Delta
from undertow.theory.weight_gradients import weight_gradients

if TYPE_CHECKING:
    from undertow.theory.isometry import Isometry

SIDES = 1.96
"""Standard deviations of a normal variable to either side that hold 95 % of it."""


@dataclass(frozen=True)
class SiteForecast:
    """What theory says of one site.  Sizes are root mean squares; those of δ for an output whose δ has the forecast's
    `cotangent`."""

    entry: Entry
    """As a measured ledger will have it."""
    low: float
    high: float
    """Between them lie 95 % of initialisations, by the log-normal law of layers of finite width."""
    flags: tuple[str, ...] = ()
    """Why the numbers may be off: keys of the messages `forecast.flags`."""

    @property
    def site(self) -> Site:
        return self.entry.site

    @property
    def previous(self) -> Site | None:
        """The site before it on the longest way of the signal."""
        return self.entry.previous

    @property
    def forward_rms(self) -> float:
        return self.entry.forward_rms

    @property
    def backward_rms(self) -> float:
        """The median over random initialisations."""
        return self.entry.backward_rms

    @property
    def factor(self) -> float:
        """rms δ(previous) / rms δ(site), as in a ledger; 1 where there is no previous site."""
        return self.entry.factor

    @property
    def effect(self) -> Effect:
        return self.entry.site.effect


@dataclass(frozen=True)
class Forecast:
    """The forecast of one model (or blueprint) for one input."""

    blueprint: Blueprint
    flow: Flow
    cotangent: float = 1.0
    """rms of δ at the model's output; every backward size is proportional to it."""
    model: nn.Module | None = field(default=None, repr=False, compare=False)
    """What was read; None for a blueprint."""
    inputs: Any = field(default=None, repr=False, compare=False)
    """What the model was given; None for a blueprint, and where other weights are forecast than the model has."""

    @cached_property
    def ledger(self) -> Ledger:
        """The account of the backward pass that theory expects, with the main path of a measured one."""
        return expected(self.blueprint, self.flow)

    @cached_property
    def sites(self) -> tuple[SiteForecast, ...]:
        """In the order of the forward pass; sites that no gradient reaches are left out."""
        nodes = {n.site: i for i, n in enumerate(self.blueprint.nodes) if n.site is not None}
        found = []
        for entry in self.ledger:
            index = nodes[entry.site]
            delta = self.flow.deltas[index]
            assert delta is not None
            middle, low, high = interval(delta)
            whole = entry.backward_rms / middle if middle else 0.0  # of several outputs of one call
            found.append(SiteForecast(entry, low * whole, high * whole, self.flow.flags[index]))
        return tuple(found)

    @property
    def path(self) -> tuple[SiteForecast, ...]:
        """The sites of the main path, whose factors multiply to `end_to_end`."""
        return tuple(s for s in self.sites if s.entry.on_path)

    # ------------------------------------------------------------ overall

    @property
    def end_to_end(self) -> float:
        """Backward rms at the first site of the main path over that at its last: what the depth leaves."""
        return self.ledger.end_to_end

    @cached_property
    def weight_gradients(self) -> dict[str, float]:
        """‖∂L/∂W‖ of each linear layer by its site's name, for a loss that hands back `cotangent`."""
        return weight_gradients(self.blueprint, self.flow)

    @property
    def left(self) -> float:
        """`end_to_end` without what pooling and slicing do to an rms, which is what the findings judge."""
        return flows.flow(self.ledger)

    @cached_property
    def layers(self) -> int:
        """Layers of weights on the main path."""
        return len(self._layers)

    @cached_property
    def _layers(self) -> list[depth.Layer]:
        return depth.layers(self.ledger)

    @property
    def per_layer(self) -> float:
        """The factor of the backward value from a layer of weights to the one before it; 1 where it follows a power of
        the depth, as in residual networks and at criticality."""
        return math.exp(depth.log_rate(self._layers))

    @property
    def largest_step(self) -> tuple[Site, float] | None:
        """The layer of weights on whose way back to the one before it δ changes the most beside `per_layer`, and by
        what; None with less than two layers."""
        place, factor = depth.largest_step(self._layers)
        weighted = [s.site for s in self.path if s.effect == "weights"]
        return None if math.isnan(factor) else (weighted[-1 - place], factor)

    @cached_property
    def underflow_depth(self) -> dict[torch.dtype, float]:
        """Per format, the first layer of weights from the output whose gradients are all exactly 0, for an output whose
        δ is `cotangent` in size; inf where no depth is in sight.  Beyond this model's own depth the layers are taken to
        go on alike.  bfloat16 as torch computes it on a CPU, which flushes subnormal numbers."""
        return {dtype: depth.underflow_depth(self._layers, form) for dtype, form in depth.FORMATS.items()}

    @cached_property
    def overflow_depth(self) -> dict[torch.dtype, float]:
        """Per format, the first layer of weights from the output with gradients beyond the format's largest number."""
        return {dtype: depth.overflow_depth(self._layers, form) for dtype, form in depth.FORMATS.items()}

    @cached_property
    def trainable_depth(self) -> float:
        """The first layer of weights from the output that one learning rate does not serve together with the last one;
        inf where no depth is in sight."""
        return depth.trainable_depth(self._layers)

    @cached_property
    def isometry(self) -> Isometry | None:
        """How unevenly the Jacobian stretches directions; None where the main path is no plain chain."""
        from undertow.theory.isometry import isometry

        return isometry(self)

    @cached_property
    def flags(self) -> dict[str, tuple[Site, ...]]:
        """Why the numbers may be off, and at which sites: by the keys of the messages `forecast.flags`."""
        found: dict[str, list[Site]] = {}
        for site in self.sites:
            for flag in site.flags:
                found.setdefault(flag, []).append(site.site)
        return {flag: tuple(sites) for flag, sites in found.items()} | doubts.overall(self)

    @cached_property
    def through_time(self) -> dict[Site, ThroughTime]:
        """Per recurrent layer, what a step back in time does to δ, and of how many there are."""
        found = {}
        for node in self.blueprint.nodes:
            if isinstance(node.law, Recurrent) and node.site is not None and node.law.steps > 1:
                found[node.site] = node.law.through_time(*(self.flow.signals[i] for i in node.inputs))
        return found

    @property
    def growth(self) -> float:
        """By how much a small relative error of the signal's size grows at most on its way: above 1 where χ∥ > 1."""
        return doubts.growth(self)[0]

    # ------------------------------------------------------------ verdict

    @cached_property
    def silent(self) -> dict[Site, float]:
        """Per activation with a flat side (ReLU), the share of its units that next to no sample reaches: counted in one
        forward pass where theory does not exclude that it is a half, else what theory expects."""
        from undertow.theory.silent import silent

        return silent(self)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What will go wrong, with its cause; those above a note first."""
        from undertow.theory.verdict import judged

        return judged(self)

    @property
    def healthy(self) -> bool:
        return all(f.severity == "note" for f in self.findings)

    @cached_property
    def matched(self) -> Forecast | None:
        """The same model after `ut.init.match_(model)`; None where it has no weights to set."""
        from undertow.theory.rematch import rematched

        return rematched(self)

    def __getitem__(self, site: str) -> SiteForecast:
        """The forecast of a site by its name, which for the first call may go without its index (`act3`)."""
        found = next((s for s in self.sites if site in (s.site.name, s.site.short)), None)
        if found is None:
            names = [s.site.short for s in self.sites]
            near = " or ".join(get_close_matches(site, names, n=3, cutoff=0.3)) or "forecast.sites"
            raise UnknownNameError(f"the site {site!r}", f"one of {len(names)} sites", near)
        return found

    def __str__(self) -> str:
        from undertow.theory.printed import printed

        return printed(self)


def interval(delta: Delta) -> tuple[float, float, float]:
    """Median, and the ends of the 95 % interval, of the rms of δ at finite width.

    ln ‖δ‖² is normal with the variance `spread` and the mean `shift` from its mean-field value, −β/2 and β for one
    sample where the signal's size does not matter: Hanin, Nica (2020), arXiv:1812.05994.
    """
    middle = median_rms(delta)
    reach = math.exp(SIDES * math.sqrt(delta.spread) / 2)
    return middle, middle / reach, middle * reach


def forecast(model: nn.Module | Blueprint, inputs: Any = None, *, cotangent: float | Tensor = 1.0) -> Forecast:
    """What the gradient of `model` will do at its present weights, by theory: nothing is trained or changed.

    ::

        forecast = ut.forecast(model, x)
        print(forecast)

    Parameters
    ----------
    model:
        Any module whose forward pass takes `inputs`; or a blueprint.
    inputs:
        A batch as the model will see it: a tensor, a tuple of arguments or a dict of keyword arguments.
    cotangent:
        The rms of ∂L/∂output.  Only the depths at which numbers leave their format depend on it; the mean
        cross-entropy of B samples in C classes starts with about √(C − 1)/(C·B).  Or ∂L/∂output itself, whose
        products between samples the gradients of the weights depend on.

    Raises
    ------
    ModelError, InputError
        As `undertow.theory.reading.read`; InputError for a cotangent that is not positive and finite, or not of the
        output's shape.
    """
    real = isinstance(cotangent, Tensor)
    rms = float(cotangent.detach().double().square().mean().sqrt()) if real else cotangent
    if not 0 < rms < math.inf:
        raise InputError(f"a cotangent of rms {rms!r}", "a positive finite rms", "forecast(model, x, cotangent=1e-3)")
    blueprint = model if isinstance(model, Blueprint) else read(model, inputs)
    shape = blueprint.nodes[blueprint.outputs[0]].law.shape
    if real and cotangent.shape != shape:
        got = f"a cotangent of shape {tuple(cotangent.shape)} for an output of shape {shape}"
        raise InputError(got, "∂L/∂output", "forecast(model, x, cotangent=gradient_of_the_logits)")
    flow = propagate(blueprint, cotangent)
    real_one = model if isinstance(model, nn.Module) else None
    return Forecast(blueprint, flow, rms, real_one, None if real_one is None else inputs)
