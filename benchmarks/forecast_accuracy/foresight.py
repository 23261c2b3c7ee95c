"""What `ut.forecast` says, as plain numbers."""

from __future__ import annotations

import time

from benchmarks.forecast_accuracy.cases import Built
from benchmarks.forecast_accuracy.compare import Expected, Foretold

import undertow as ut


def foretell(built: Built) -> Foretold:
    start = time.perf_counter()
    forecast = ut.forecast(built.model, built.given)
    sites = {s.site.name: Expected(s.forward_rms, s.backward_rms, s.low, s.high) for s in forecast.sites}
    seconds = time.perf_counter() - start
    flags = tuple(sorted({f for s in forecast.sites for f in s.flags}))
    return Foretold(sites, {}, flags, seconds)
