"""Critical initialisations against the reference, and what a pair of real layers does at them."""

import math

import numpy as np
import pytest
import torch
from reference import CRITICAL, function

from undertow.activations import Custom
from undertow.foundation import InputError
from undertow.theory import critical_curve, critical_point, half_stable

ids = {"ids": lambda row: f"{row['activation']}-{row['q_star']:.4g}" if row["q_star"] != "any" else row["activation"]}


@pytest.mark.parametrize("row", [*CRITICAL["solved"], *CRITICAL["curves"]], **ids)
def test_reference(row):
    point = critical_point(function(row["activation"]), q=row["q_star"])
    assert point.sigma_w2 == pytest.approx(row["sigma_w2"], rel=1e-12)
    assert point.sigma_b2 == pytest.approx(row["sigma_b2"], rel=1e-11, abs=1e-12)
    assert point.chi_parallel == pytest.approx(row["chi_parallel"], rel=1e-12)
    assert point.feasible == row["feasible"]
    assert point.holds == (row["fixed_point"] != "unstable")
    if row["feasible"]:
        assert (point.sigma_w, point.sigma_b) == pytest.approx((row["sigma_w"], row["sigma_b"]), rel=1e-11, abs=1e-6)
    else:
        assert math.isnan(point.sigma_b)


@pytest.mark.parametrize("row", CRITICAL["exact"], **ids)
def test_exact(row):
    for q in (0.01, 3.0) if row["q_star"] == "any" else (0.0,):
        point = critical_point(function(row["activation"]), q=q)
        assert point == pytest.approx((q, row["sigma_w2"], 0.0, 1.0), rel=1e-12, abs=1e-12)
    assert critical_point(function(row["activation"]), sigma_b2=0).sigma_w2 == pytest.approx(row["sigma_w2"], rel=1e-12)


@pytest.mark.parametrize("row", [r for r in CRITICAL["solved"] if r["fixed_point"] == "stable"], **ids)
def test_by_the_variance_of_the_biases(row):
    point = critical_point(function(row["activation"]), sigma_b2=row["sigma_b2"])
    assert (point.q, point.sigma_w2) == pytest.approx((row["q_star"], row["sigma_w2"]), rel=1e-9)


@pytest.mark.parametrize("row", [r for r in CRITICAL["solved"] if r["fixed_point"].startswith("marginal")], **ids)
def test_half_stable(row):
    point = half_stable(function(row["activation"]))
    assert point is not None
    assert point.holds
    assert point == pytest.approx((row["q_star"], row["sigma_w2"], row["sigma_b2"], 1.0), rel=1e-11)


def test_half_stable_of_others():
    assert half_stable("gelu").q == pytest.approx((3 + math.sqrt(17)) / 2, rel=1e-12)
    assert half_stable("tanh") is None
    assert half_stable("relu") == pytest.approx((1, 2, 0, 1), rel=1e-12)


@pytest.mark.parametrize(("name", "chi"), [("gelu", 1.067), ("silu", 1.099), ("mish", 1.016)])
def test_the_usual_point_of_the_smooth_rectifiers_repels(name, chi):
    point = critical_point(name, q=1.0)
    assert point.chi_parallel == pytest.approx(chi, abs=5e-4)
    assert not point.holds


def test_the_curve_says_where_no_biases_do():
    every = critical_curve("sigmoid")
    assert [p.feasible for p in every] == [p.q >= 45.624277797379705 for p in every]
    assert critical_curve("tanh", np.array([1.0]))[0] == pytest.approx(critical_point("tanh", q=1.0), rel=1e-10)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "one of the two"),
        ({"q": 1.0, "sigma_b2": 0.0}, "one of the two"),
        ({"q": -1.0}, "positive finite variance"),
        ({"sigma_b2": -1.0}, "0 or more"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(InputError, match=match):
        critical_point("tanh", **arguments)


def test_what_has_no_critical_point():
    with pytest.raises(InputError, match="step, whose E"):
        critical_point(Custom("step", torch.sign), q=1.0)
    with pytest.raises(InputError, match="whose slope at 0 is 0"):
        critical_point(torch.square, q=0.0)
    with pytest.raises(InputError, match="expected one between"):
        critical_point("identity", sigma_b2=0.1)
