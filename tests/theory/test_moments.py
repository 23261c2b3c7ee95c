"""Moments against 60-digit reference numbers, and their bad input."""

import json
import math
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from undertow.activations import Custom, PReLU, Swish, activation
from undertow.foundation import InputError, UnknownNameError
from undertow.theory import moments

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())["rows"]
ROWS = [(r["activation"], r["parameters"], q, m) for r in REFERENCE for q, m in r["moments"].items()]


@pytest.mark.parametrize(("name", "parameters", "q", "expected"), ROWS, ids=lambda v: "" if "E_f" in str(v) else str(v))
def test_reference(name, parameters, q, expected):
    got = moments(activation(name, **parameters), q=float(q))
    for moment, value in expected.items():
        assert getattr(got, moment) == pytest.approx(value, rel=1e-13, abs=1e-15), moment


def test_every_pointwise_activation_of_the_article_is_in_the_reference():
    article = {"sigmoid", "tanh", "relu", "swish", "leaky_relu", "prelu", "elu"}
    assert article <= {row["activation"] for row in REFERENCE}


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
