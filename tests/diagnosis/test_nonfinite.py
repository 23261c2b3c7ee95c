"""Where NaN and Inf came from, in words, from an origin or from the measured steps alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Finding, examine, judge
from undertow.foundation import language
from undertow.probe import measure
from undertow.record import Origin, Reading, Recording, StepReading


class Masked(nn.Module):
    """A causal attention by hand; `broken` divides by 0 after it."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.broken = nn.Linear(6, 6), nn.Linear(6, 3), broken

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        scores = (h @ h.mT).masked_fill(torch.ones(4, 4).triu(1).bool(), -math.inf)
        h = scores.softmax(-1) @ h
        return self.last(h / (h - h) if self.broken else h).mean(1)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(8, 4, 6), torch.arange(8) % 3


def finding_of(recording: Recording) -> Finding:
    return next(f for f in judge(recording).findings if f.kind == "nonfinite")


def test_a_mask_is_no_fault() -> None:
    assert not [f for f in examine(Masked(), batch(), F.cross_entropy).findings if f.kind == "nonfinite"]


@pytest.mark.parametrize("seen", ["run again", "measured only"])
def test_the_operation_after_a_mask(seen: str) -> None:
    recording = measure(Masked(broken=True), batch(), F.cross_entropy)
    assert recording.origin is not None
    if seen == "measured only":
        recording = replace(recording, origin=None)
    finding = finding_of(recording)
    assert (finding.where, finding.cause, finding.step) == ("forward:div", "graph", 0)
    assert finding.counter_evidence == ()
    assert "192 of 192 values" in finding.because
    assert "(test_nonfinite.py:" in finding.because
    with language("ko"):
        assert "192개" in finding.because


def test_the_loss() -> None:
    finding = finding_of(measure(Masked(), batch(), lambda y, t: (y - y).sqrt().mean()))
    assert (finding.where, finding.cause) == ("loss", "loss")


def test_steps_that_a_scaler_skips_are_none() -> None:
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps[:] = [StepReading(0, math.inf, 0.1, skipped=True), StepReading(1, 1.0, 0.1)]
    recording.snapshots.append(replace(recording.snapshots[0], step=1))
    assert not [f for f in judge(recording).findings if f.kind == "nonfinite"]


@pytest.mark.parametrize(("norms", "cause"), [((1.0, 40.0), "learning_rate"), ((1.0, 2.0), "activation")])
def test_a_gradient_that_grew_before(norms: tuple[float, ...], cause: str) -> None:
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps[:] = [StepReading(i, n, 0.1) for i, n in enumerate((*norms, math.nan))]
    recording.add(Origin(2, "forward:exp", "exp", "forward", "inf", None, (Reading(4, 1, 90, 95),)))
    assert finding_of(recording).cause == cause


def test_an_origin_that_could_not_be_seen() -> None:
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps.append(StepReading(1, math.nan, 0.1))
    finding = finding_of(recording)
    assert (finding.where, finding.cause, finding.step) == ("", "none", 1)


def test_an_origin_seen_only_afterwards_says_so() -> None:
    recording = replace(measure(Masked(broken=True), batch(), F.cross_entropy), origin=None)
    recording.steps.insert(0, StepReading(-1, math.nan, 0.1))
    assert [e.name for e in finding_of(recording).counter_evidence] == ["inexact"]


@pytest.mark.parametrize(("before", "late"), [(8, False), (5, True)])
def test_weights_that_were_spoilt_in_a_step_that_nobody_looked_at(before: int, late: bool) -> None:
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps[:] = [StepReading(0, 1.0, 0.1), StepReading(before, 1.0, 0.1), StepReading(9, math.nan, 0.1)]
    recording.add(Origin(9, "first.weight", "parameter", "forward", "nan", None, ()))
    finding = finding_of(recording)
    assert (finding.cause, bool(finding.counter_evidence)) == ("learning_rate", late)


def test_a_logarithm_out_of_range_is_not_to_be_cured_by_another_activation():
    class Logarithm(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 8)

        def forward(self, x):
            return torch.log(self.layer(x))

    torch.manual_seed(0)
    finding = examine(Logarithm(), torch.randn(16, 4), lambda output: output.mean()).findings[0]
    assert (finding.kind, finding.where) == ("nonfinite", "forward:log")
    assert finding.cures == ("safe_where", "bounded_operand")
    seen = {e.name: e.value for e in finding.evidence}
    assert seen["operand_low"] < 0 < seen["operand_high"]


def test_what_a_derivative_was_given():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 8)

        def forward(self, x):
            return (self.layer(x) * 0).square().sqrt()

    torch.manual_seed(0)
    (finding,) = examine(Root(), torch.randn(16, 4), lambda output: output.sum()).findings
    seen = {e.name: e.value for e in finding.evidence}
    assert (finding.cause, seen["gradient_max"], seen["operand_low"]) == ("graph", 1.0, 0.0)


@pytest.mark.parametrize(
    ("ranges", "seen"),
    [
        ((), {"operand_max": 95, "second_max": 3}),
        (((-1.0, 95.0), (math.nan, math.nan)), {"operand_low": -1, "operand_high": 95, "second_max": 3}),
    ],
)
def test_operands_without_a_range_show_their_size(ranges, seen):
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps.append(StepReading(2, math.nan, 0.1))
    inputs = (Reading(4, 1, 90, 95), Reading(4, 1, 2, 3), Reading(4, 1, 2, 5))
    recording.add(Origin(2, "forward:exp", "exp", "forward", "inf", None, inputs, ranges=ranges))
    evidence = {e.name: e.value for e in finding_of(recording).evidence}
    assert {k: v for k, v in evidence.items() if k.startswith(("operand", "second"))} == seen


def test_a_nan_from_a_gradient_whose_square_overflows_is_of_what_made_it_grow() -> None:
    recording = measure(Masked(), batch(), F.cross_entropy)
    recording.steps[:] = [StepReading(i, 10.0**i, 1.0) for i in range(4)]

    def cause(size: float) -> str:
        came = Reading(10, 0.0, size / 2, size)
        recording.origin = Origin(4, "last", "layer_norm", "backward", "nan", None, (came,))
        return finding_of(recording).cause

    assert cause(1e25) == "learning_rate"
    assert cause(10.0) == "graph"
