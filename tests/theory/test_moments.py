"""Moments against 60-digit reference numbers, and their bad input."""

import math
from dataclasses import astuple

import pytest
import torch
from reference import MOMENTS, OWN, function
from torch import nn

from undertow.activations import Custom, PReLU, Swish, activation
from undertow.foundation import InputError, UnknownNameError
from undertow.theory import moments

ROWS = [(row["name"], q, m) for row in MOMENTS for q, m in row["moments"].items()]


@pytest.mark.parametrize(("name", "q", "expected"), ROWS, ids=lambda v: "" if isinstance(v, dict) else v)
def test_reference(name, q, expected):
    got, size = moments(function(name), q=float(q)), expected["E_f2"]
    # a mean of 0, and E[f f″] as a small difference, are held to the size of what they are means of
    rounding = {"E_f": math.sqrt(size), "E_df": 1, "E_f_ddf": expected["E_df2"], "dE_f2_dq": expected["E_df2"]}
    for moment, value in expected.items():
        absolute = 5e-15 * rounding.get(moment, 0)
        assert getattr(got, moment) == pytest.approx(value, rel=1e-12, abs=absolute), moment


def test_every_pointwise_activation_of_the_article_is_in_the_reference():
    article = {"sigmoid", "tanh", "relu", "silu", "leaky_relu", "prelu", "elu"}
    assert article <= {row["activation"] for row in MOMENTS}


def test_the_fourth_moment():
    # of u ~ N(0, q): 3 q²
    assert moments("identity", 2.0).E_f4 == pytest.approx(12, rel=1e-13)
    assert moments("relu", 2.0).E_f4 == pytest.approx(6, rel=1e-13)


@pytest.mark.parametrize("name", ["tanh", "gelu", "hardshrink", "hardtanh"])
@pytest.mark.parametrize("mean", [0.0, -0.6])
def test_the_slope_in_q_is_the_slope_of_the_moment(name, mean):
    q, h = 0.8, 1e-4
    difference = (moments(name, q + h, mean).E_f2 - moments(name, q - h, mean).E_f2) / (2 * h)
    assert moments(name, q, mean).dE_f2_dq == pytest.approx(difference, rel=1e-6)


def test_modules_and_functions_of_torch_are_what_they_are():
    assert moments(nn.GELU(), 0.3) == moments("gelu", 0.3)
    assert moments(torch.nn.functional.silu, 0.3) == moments("silu", 0.3)
    assert astuple(moments(nn.PReLU(init=0.2))) == pytest.approx(astuple(moments(PReLU(slope=0.2))), rel=1e-7)


def test_a_kink_that_is_not_declared_is_found():
    got = moments(lambda x: torch.where(x > 1.3, 2 * x, 0.1 * x))
    high = math.erfc(1.3 / math.sqrt(2)) / 2
    assert got.E_df2 == pytest.approx(4 * high + 0.01 * (1 - high), rel=1e-12)
    given = moments(lambda x: torch.where(x > 1.3, 2 * x, 0.1 * x), kinks=(1.3,))
    assert astuple(given) == pytest.approx(astuple(got), rel=1e-11)


def test_a_function_of_the_users_own_is_followed_by_automatic_differentiation():
    # x sin x: E[f²] = (q − (q − 4q²) e^(−2q)) / 2
    q = 0.7
    expected = (q - (q - 4 * q * q) * math.exp(-2 * q)) / 2
    assert moments(lambda x: x * torch.sin(x), q).E_f2 == pytest.approx(expected, rel=1e-12)
    assert set(OWN) == {row["name"] for row in MOMENTS if row["activation"] is None}


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "swish", "relu"])
def test_stein(name):
    """E[f′(u)] = E[(u − mean) f(u)] / q, which shares no formula with the derivative."""
    mean, q = 0.4, 2.5
    act = activation(name)
    weighted = Custom("weighted", lambda x: (x - mean) * act(x), kinks=act.kinks)
    assert moments(act, q, mean).E_df == pytest.approx(moments(weighted, q, mean).E_f / q, rel=1e-12)


def test_mean():
    # E[relu(u)] = m Φ(m/s) + s φ(m/s)
    m, s = -0.7, 1.3
    phi = math.exp(-0.5 * (m / s) ** 2) / math.sqrt(2 * math.pi)
    expected = m * math.erfc(-m / s / math.sqrt(2)) / 2 + s * phi
    assert moments("relu", q=s * s, mean=m).E_f == pytest.approx(expected, rel=1e-12)


def test_parameters_by_channel_are_averaged():
    slopes = (0.1, 0.5, 0.9)
    each = [moments(PReLU(slope=s)).E_f2 for s in slopes]
    act = PReLU(slope=torch.nn.Parameter(torch.tensor(slopes, dtype=torch.float64)))
    assert moments(act).E_f2 == pytest.approx(sum(each) / 3, rel=1e-13)


def test_a_definition_that_holds_a_tensor_is_computed_afresh():
    beta = torch.tensor(1.0)
    act = Swish(beta=beta)
    first = moments(act)
    beta.fill_(3.0)
    # a tensor's function is computed in float64, a number's in wider arithmetic and rounded once
    assert astuple(first) == pytest.approx(astuple(moments("silu")), rel=1e-14)
    assert astuple(moments(act)) == pytest.approx(astuple(moments(Swish(beta=3.0))), rel=1e-14)


@pytest.mark.parametrize("q", [0.0, -1.0, math.nan, math.inf])
def test_variance_is_positive_and_finite(q):
    with pytest.raises(InputError, match="positive finite variance"):
        moments("relu", q=q)


def test_what_has_no_moments():
    with pytest.raises(InputError, match="couples several elements"):
        moments("softmax")
    with pytest.raises(UnknownNameError, match="'tanh'"):
        moments("tahn")
    with pytest.raises(InputError, match="a module Linear with weights"):
        moments(nn.Linear(2, 2))
