"""Moments of two pre-activations against closed forms, the moments of one, and Price's theorem."""

import math

import pytest
import torch

from undertow.activations import PReLU
from undertow.foundation import InputError
from undertow.theory import joint, moments

CORRELATIONS = (1.0, 1 - 1e-12, 1 - 1e-6, 0.999, 0.9, 0.3, 0.0, -0.5, -0.999, -1.0)


def relu(q, p, c):
    """The arc-cosine kernels of Cho and Saul (2009)."""
    angle = math.atan2(math.sqrt((1 - c) * (1 + c)), c)
    return math.sqrt(q * p) * (math.sin(angle) + (math.pi - angle) * c) / (2 * math.pi), (math.pi - angle) / 2 / math.pi


def erf(q, p, c):
    """Williams (1997)."""
    k, n = c * math.sqrt(q * p), (1 + 2 * q) * (1 + 2 * p)
    return 2 / math.pi * math.asin(2 * k / math.sqrt(n)), 4 / math.pi / math.sqrt(n - 4 * k * k)


def sin(q, p, c):
    k, decay = c * math.sqrt(q * p), math.exp(-(q + p) / 2)
    return decay * math.sinh(k), decay * math.cosh(k)


@pytest.mark.parametrize("kernel", [relu, erf, sin])
@pytest.mark.parametrize(("q", "p"), [(1e-6, 1e-6), (0.5, 0.5), (4.0, 4.0), (60.0, 60.0), (0.3, 7.0)])
def test_closed_forms(kernel, q, p):
    size = [
        math.sqrt(getattr(moments(kernel.__name__, q), m) * getattr(moments(kernel.__name__, p), m))
        for m in ("E_f2", "E_df2")
    ]
    for c in CORRELATIONS:
        got, expected = joint(kernel.__name__, q, c, p), kernel(q, p, c)
        # at 1 − c = 10⁻¹² a float64 holds c only to four digits of the angle, which ReLU's slope goes with
        assert got.E_ff == pytest.approx(expected[0], abs=1e-10 * size[0])
        assert got.E_dfdf == pytest.approx(expected[1], abs=1e-10 * size[1])


@pytest.mark.parametrize("name", ["gelu", "hardtanh", "hardswish", "selu", "sigmoid", "softshrink", "snake"])
@pytest.mark.parametrize("q", [0.04, 1.0, 25.0])
def test_at_the_ends_it_is_the_moment_of_one(name, q):
    m = moments(name, q)
    assert joint(name, q, 1.0) == pytest.approx((m.E_f2, m.E_df2), rel=1e-10)
    assert joint(name, q, 0.0).E_ff == pytest.approx(m.E_f**2, abs=1e-10 * m.E_f2)
    assert joint(name, q, 0.0).E_dfdf == pytest.approx(m.E_df**2, rel=1e-10, abs=1e-10 * m.E_df2)


@pytest.mark.parametrize("name", ["tanh", "gelu", "hardtanh", "softshrink", "elu"])
@pytest.mark.parametrize("c", [0.97, 0.4, -0.8])
def test_price(name, c):
    """dE[f(u) f(v)]/dc = √(q p) E[f′(u) f′(v)] for a continuous f: two integrands, one truth."""
    q, p, h = 1.7, 0.6, 1e-4
    slope = (joint(name, q, c + h, p).E_ff - joint(name, q, c - h, p).E_ff) / (2 * h)
    assert joint(name, q, c, p).E_dfdf * math.sqrt(q * p) == pytest.approx(slope, rel=1e-5)


def test_it_is_symmetric_in_its_two_inputs():
    assert joint("gelu", 0.3, -0.7, 2.0) == pytest.approx(joint("gelu", 2.0, -0.7, 0.3), rel=1e-9)


def test_parameters_by_channel_are_averaged():
    act = PReLU(slope=torch.tensor([0.1, 0.5], dtype=torch.float64))
    each = [joint(PReLU(slope=s), 1.0, 0.6).E_ff for s in (0.1, 0.5)]
    assert joint(act, 1.0, 0.6).E_ff == pytest.approx(sum(each) / 2, rel=1e-10)


@pytest.mark.parametrize(("q", "c"), [(1.0, 1.1), (0.0, 0.5), (math.nan, 0.5), (1.0, math.nan)])
def test_bad_input(q, c):
    with pytest.raises(InputError, match="positive finite variances"):
        joint("relu", q, c)
