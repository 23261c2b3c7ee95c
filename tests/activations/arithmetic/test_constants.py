"""The constants against mpmath, to all 106 bits."""

from __future__ import annotations

import pickle

import mpmath
import pytest
from mpmath import mp, mpf

from undertow.activations import arithmetic
from undertow.activations.arithmetic import Exact

TRUE = {
    "SQRT_HALF": lambda: mpmath.sqrt(mpf(1) / 2),
    "SQRT_2": lambda: mpmath.sqrt(2),
    "SQRT_2_OVER_PI": lambda: mpmath.sqrt(2 / mp.pi),
    "TWO_OVER_SQRT_PI": lambda: 2 / mpmath.sqrt(mp.pi),
    "RSQRT_2PI": lambda: 1 / mpmath.sqrt(2 * mp.pi),
    "LN_2": lambda: mpmath.log(2),
    "PI": lambda: +mp.pi,
}


def test_each_has_its_truth():
    assert {n for n, v in vars(arithmetic).items() if isinstance(v, Exact)} == set(TRUE)


@pytest.mark.parametrize("name", TRUE)
def test_to_106_bits(name):
    c = getattr(arithmetic, name)
    with mp.workdps(60):
        true = TRUE[name]()
        assert float(c) == float(true)
        assert abs(mpf(float(c)) + mpf(c.lo) - true) <= abs(true) * mpf(2) ** -106


def test_it_pickles():
    again = pickle.loads(pickle.dumps(arithmetic.PI))
    assert (again, again.lo) == (arithmetic.PI, arithmetic.PI.lo)
