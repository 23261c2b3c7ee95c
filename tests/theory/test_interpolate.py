"""Moments at many variances against each by itself."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from undertow.activations import Hardshrink, PReLU
from undertow.foundation import InputError
from undertow.theory import Moments, interpolate, moments, moments_at

VARIANCES = np.array([[1e-30, 2e-7, 0.016], [0.3, 1.0, 16.0], [17.0, 99.0, 1500.0]])


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "hardshrink", "sin", "elu"])
@pytest.mark.parametrize("mean", [0.0, 0.7])
def test_each_is_what_it_is_alone(name, mean):
    got = moments_at(name, VARIANCES, mean)
    for where, q in np.ndenumerate(VARIANCES):
        alone = moments(name, q, mean)
        absolute = {"E_f": alone.E_f2**0.5, "E_df": alone.E_df2**0.5, "dE_f2_dq": alone.E_df2}
        for moment in (f.name for f in fields(Moments)):
            expected = pytest.approx(getattr(alone, moment), rel=1e-9, abs=1e-10 * absolute.get(moment, 1e-6) + 1e-40)
            assert getattr(got, moment)[where] == expected, (moment, q)


def test_what_grows_too_fast_is_computed_one_by_one():
    got = moments_at("exponential", np.array([0.5, 30.0, 30.0]))
    assert got.E_f2 == pytest.approx(np.exp(2 * np.array([0.5, 30.0, 30.0])), rel=1e-10)


def test_parameters_by_channel():
    act = PReLU(slope=torch.tensor([0.1, 0.5], dtype=torch.float64))
    assert moments_at(act, np.array([2.0])).E_df2[0] == pytest.approx(moments(act, 2.0).E_df2, rel=1e-12)


@pytest.mark.parametrize("q", [[], [1.0, -1.0], [np.nan], [np.inf]])
def test_bad_input(q):
    with pytest.raises(InputError, match="positive finite variances"):
        moments_at("relu", np.array(q))


def test_moments_that_leave_float64_are_infinite_and_those_before_exact():
    # E[e^u] = e^{q/2}, E[e^{2u}] = e^{2q}, E[e^{4u}] = e^{8q}
    q = np.geomspace(1.0, 200.0, 120)
    found = moments_at("exponential", q)
    with np.errstate(over="ignore"):
        truth = np.exp(q / 2), np.exp(2 * q), np.exp(8 * q)
    for values, true in zip((found.E_f, found.E_f2, found.E_f4), truth, strict=True):
        far = true > 1e200  # whose largest summands lie beyond 42 standard deviations
        assert np.allclose(np.asarray(values)[~far], true[~far], rtol=1e-7)
        assert (~np.isfinite(true) <= ~np.isfinite(np.asarray(values))).all()


def test_where_nothing_is_left_of_a_function_it_costs_little(monkeypatch):
    computed, asked = interpolate.computed, []
    monkeypatch.setattr(interpolate, "computed", lambda *args: asked.append(args) or computed(*args))
    q = np.geomspace(1e-8, 1e4, 2401)
    hard = moments_at(Hardshrink(), q)
    assert len(asked) < 60
    tail = [math.erfc(0.5 / math.sqrt(2 * v)) for v in (1e-2, 1.0, 100.0)]
    assert np.interp(np.log([1e-2, 1.0, 100.0]), np.log(q), np.asarray(hard.E_df2)) == pytest.approx(tail, rel=1e-3)
