"""What `ut.forecast` says, as plain numbers."""

from __future__ import annotations

import time

import torch
from benchmarks.forecast_accuracy.cases import Built
from benchmarks.forecast_accuracy.compare import Expected, Foretold
from torch import Tensor

import undertow as ut


def foretell(built: Built) -> Foretold:
    """Given what the loss hands back where it is a cross-entropy, else for a backward value of rms 1 at the output."""
    cotangent: float | Tensor = 1.0
    if built.target is not None:
        with torch.no_grad():
            out = built.model(built.given)
        cotangent = torch.autograd.grad(built.loss(out.requires_grad_()), out)[0]
    start = time.perf_counter()
    forecast = ut.forecast(built.model, built.given, cotangent=cotangent)
    sites = {s.site.name: Expected(s.forward_rms, s.backward_rms, s.low, s.high) for s in forecast.sites}
    seconds = time.perf_counter() - start
    weights = {f"{name.rpartition('#')[0]}.weight": norm for name, norm in forecast.weight_gradients.items()}
    flags = tuple(sorted(forecast.flags))
    return Foretold(sites, weights, flags, seconds)
