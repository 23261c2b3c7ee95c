"""The rows of the table: what each demands of its cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from benchmarks.forecast_accuracy import compare
from benchmarks.forecast_accuracy.cases import Case
from benchmarks.forecast_accuracy.compare import Pair


class Demand(NamedTuple):
    """`value(pairs, case)` is at most `limit`."""

    what: str
    value: Callable[[Sequence[Pair], Case], float]
    limit: float
    unit: str = "%"


@dataclass(frozen=True)
class Got:
    """One number of a case beside the most that it may be."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit  # NaN is not

    def show(self, value: float) -> str:
        if self.unit == "%":
            return f"{value:.2%}" if value < 0.01 else f"{value:.1%}"
        return f"{value:.3g}{self.unit}"


@dataclass(frozen=True)
class Line:
    """What became of one case."""

    row: str
    name: str
    seeds: int
    got: tuple[Got, ...]
    flags: tuple[str, ...] = ()
    """What the forecast gave notice of."""
    note: str = ""

    @property
    def outcome(self) -> str:
        """A miss that the forecast gave notice of is `flagged`."""
        return "pass" if all(g.met for g in self.got) else "flagged" if self.flags else "miss"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome}


def judge(case: Case, pairs: Sequence[Pair]) -> Line:
    flags = sorted({f for p in pairs for f in p.foretold.flags})
    got = (Got(d.what, d.value(pairs, case), d.limit, d.unit) for d in DEMANDS[case.row])
    # told, not judged: the seed median of the site that is furthest off
    note = f"worst site {compare.worst_site(pairs):.1%}, forward {compare.worst_forward(pairs):.1%}"
    return Line(case.row, case.name, len(pairs), tuple(got), tuple(flags), note)


def _layer(limit: float) -> Demand:
    return Demand("a layer", lambda pairs, case: compare.per_layer(pairs, case.layers), limit)


def _decades(limit: float) -> Demand:
    return Demand("log₁₀ end to end", lambda pairs, _: compare.decades(pairs), limit, "")


def _ratio(limit: float) -> Demand:
    return Demand("end to end", lambda pairs, _: compare.relative(pairs), limit)


def _outside(limit: float) -> Demand:
    return Demand("seeds outside", lambda pairs, _: compare.outside(pairs), limit)


def _weights(limit: float) -> Demand:
    return Demand("weight gradients", lambda pairs, _: compare.weights(pairs), limit)


def _median_site(limit: float) -> Demand:
    return Demand("median site", lambda pairs, _: compare.median_site(pairs), limit)


def _sites_outside(limit: float) -> Demand:
    return Demand("sites outside", lambda pairs, _: compare.sites_outside(pairs), limit)


DEMANDS = {
    "plain512": (_layer(0.005), _decades(0.1)),
    "plain128": (_decades(0.3), _outside(0.1)),
    "weights": (_weights(0.1),),
    "weights_kinked": (_weights(0.2),),
    "layernorm": (_ratio(0.1),),
    "batchnorm": (_layer(0.01),),
    "stream_small": (_ratio(0.05),),
    "stream_unit": (_ratio(0.2),),
    "conv": (_ratio(0.05),),
    "ledger": (_median_site(0.1), _sites_outside(0.1)),
}
TITLES = {
    "plain512": "plain MLP, width 512, 50 layers",
    "plain128": "plain MLP, width 128, 50 layers",
    "weights": "cross-entropy, gradients of the weights given the cotangent, smooth activations",
    "weights_kinked": "the same, ReLU and SELU",
    "layernorm": "Linear, LayerNorm or RMSNorm, f; and Linear, f, norm",
    "batchnorm": "Linear, BatchNorm, f with B ≤ width/8",
    "stream_small": "pre-norm residual MLP and transformer, 24 blocks, std 0.02",
    "stream_unit": "the same, std 1/√d",
    "conv": "3×3 convolutions with zero padding, smooth activations, 20 layers",
    "underflow": "underflow depth",
    "time": "time of a forecast",
    "ledger": "whole networks against the ledger, site by site",
}
