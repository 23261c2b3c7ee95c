"""Moments at many variances against each by itself."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from undertow.activations import PReLU
from undertow.foundation import InputError
from undertow.theory import Moments, moments, moments_at

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
