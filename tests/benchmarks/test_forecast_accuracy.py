"""The harness that holds the forecast against measurements: its own arithmetic, on numbers that are known."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.forecast_accuracy import compare
from benchmarks.forecast_accuracy.cases import cases
from benchmarks.forecast_accuracy.compare import Expected, Foretold, Pair
from benchmarks.forecast_accuracy.extremes import layers_until_zero
from benchmarks.forecast_accuracy.page import summary
from benchmarks.forecast_accuracy.rows import DEMANDS, TITLES, Got, Line
from benchmarks.forecast_accuracy.truth import measured
from benchmarks.forecast_accuracy.witness import Measured, Size, measure
from torch import nn

ROOT = Path(__file__).parents[2]


def pair(first: float, forecast: float, low: float = 0.0, high: float = math.inf) -> Pair:
    """Three sites whose last has a measured gradient of 4, half of that beside the forecast's 2."""
    truth = {"a#0": Size(1.0, first), "b#0": Size(1.0, 4.0), "c#0": Size(2.0, 4.0), "unforeseen#0": Size(1.0, 1.0)}
    theory = {
        "a#0": Expected(1.1, forecast, low, high),
        "forward:add#0": Expected(9.0, 9.0, 9.0, 9.0),
        "b#0": Expected(1.0, 2.0, 1.9, 2.1),
        "c#0": Expected(1.0, 2.0, 2.0, 2.0),
    }
    return Pair(Measured(truth, {"a": 3.0, "b": 5.0}), Foretold(theory, {"a": 1.0, "b": 2.5}, (), 0.0))


def test_witness_measures_what_is_computed_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, -1.0]]))
    found = measure(model, torch.tensor([[1.0, 4.0]]), lambda out: 2 * out.sum())
    # u = (3, -4), f(u) = (3, 0), ∂L/∂f = (2, 2), ∂L/∂u = (2, 0), ∂L/∂W = (2, 0) ⊗ (1, 4)
    assert found.sites["0#0"] == pytest.approx((math.sqrt(12.5), math.sqrt(2)))
    assert found.sites["1#0"] == pytest.approx((math.sqrt(4.5), 2))
    assert found.weights == {"0.weight": pytest.approx(2 * math.sqrt(17))}


def test_witness_tells_calls_apart_and_leaves_no_hook():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    found = measure(model, torch.randn(1, 2), torch.sum)
    assert list(found.sites) == ["0#0", "0#1"]  # one module has one name
    assert not layer._forward_hooks


def test_errors_are_relative_to_the_last_site_and_of_common_sites_only():
    one = pair(first=1.0, forecast=1.0)  # measured 1/4, forecast 1/2
    assert one.common == ["a#0", "b#0", "c#0"]
    assert one.scale == 2
    assert one.error("a#0") == pytest.approx(math.log(2))
    assert one.error("b#0") == one.error("c#0") == 0
    assert compare.relative([one]) == pytest.approx(1.0)
    assert compare.decades([one]) == pytest.approx(math.log10(2))
    assert compare.per_layer([one], 50) == pytest.approx(2 ** (1 / 50) - 1)
    assert compare.worst_forward([one]) == pytest.approx(0.5)


def test_the_median_is_of_the_seeds():
    seeds = [pair(first=1.0, forecast=f) for f in (0.5, 0.55, 40.0)]
    assert compare.relative(seeds) == pytest.approx(0.1)
    assert compare.worst_site(seeds) == pytest.approx(0.1)
    assert compare.median_site(seeds) == 0  # six of the nine sites are met


def test_a_seed_is_inside_where_the_measured_value_is():
    within, below, above = (pair(2.0, 1.0, low, high) for low, high in ((0.9, 1.1), (1.1, 1.2), (0.8, 0.9)))
    assert compare.outside([within, within]) == 0
    assert compare.outside([within, below, above, within]) == 0.5
    assert compare.sites_outside([within, below]) == pytest.approx(1 / 6)


def test_gradients_of_weights_are_given_the_cotangent():
    assert compare.weights([pair(1.0, 1.0)]) == pytest.approx((1 / 3 + 0) / 2)  # 2/3 and 5/5


@pytest.mark.parametrize(("dtype", "layers"), [(torch.float16, 4), (torch.float32, 16)])
def test_underflow_is_counted_from_the_end(dtype, layers):
    model = nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(3, 3, bias=False), nn.Identity()))).to(dtype)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.copy_(torch.eye(3) * 2**-10)
    # 2^-20 is the last power of 2^-10 above half of float16's least number, 2^-24; of float32's, 2^-149, it is 2^-140
    assert layers_until_zero(model, torch.ones(1, 3, dtype=dtype), torch.ones(1, 3, dtype=dtype)) == layers


def test_nothing_is_zero_in_a_short_net():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    assert layers_until_zero(model, torch.ones(1, 3), torch.ones(1, 3)) is None


@pytest.mark.parametrize(
    ("value", "flags", "outcome"),
    [(0.1, (), "pass"), (0.2, (), "miss"), (0.2, ("a",), "flagged"), (math.nan, (), "miss")],
)
def test_outcome_and_summary(value, flags, outcome):
    line = Line("conv", "case", 1, (Got("end to end", value, 0.1, "%"),), flags)
    assert line.outcome == outcome
    assert f"1 {outcome}" in summary([line])
    assert ("**miss**" in summary([line])) == (outcome == "miss")


def test_cases_have_rows_and_names_of_their_own():
    found = cases()
    assert {c.row for c in found} == set(DEMANDS)
    assert set(TITLES) == {*DEMANDS, "underflow", "time"}
    assert len({c.key for c in found}) == len(found)


def test_the_truth_is_kept_and_the_same_anew(tmp_path):
    case = next(c for c in cases() if c.key == "plain128/relu-he-single")
    first = measured(case, 1, tmp_path)
    kept = measured(case, 2, tmp_path)
    assert kept[0] == first[0] != kept[1]
    assert measured(case, 2, None) == kept


@pytest.mark.slow
def test_quick_table():
    command = [sys.executable, "-m", "benchmarks.forecast_accuracy", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    for row in DEMANDS | {"underflow": (), "time": ()}:
        assert f"{row}/" in done.stdout, row
