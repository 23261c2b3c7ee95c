"""Exact numbers, and places on a log scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.report.numbers import exact, position


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_exact_is_read_back_to_seven_digits(value: float) -> None:
    assert float(exact(value)) == pytest.approx(value, rel=1e-6, abs=1e-300)


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30))
def test_position_grows_with_the_size(a: float, b: float) -> None:
    low, high = sorted((position(a, 1e-20, 1e20), position(b, 1e-20, 1e20)))
    assert 0 <= low <= high <= 1
    assert (position(a, 1e-20, 1e20) <= position(b, 1e-20, 1e20)) == (a <= b) or low == high


def test_position_of_what_has_no_logarithm() -> None:
    assert position(0.0, 1e-3, 1) == position(-1.0, 1e-3, 1) == position(math.nan, 1e-3, 1) == 0.0
    assert position(math.inf, 1e-3, 1) == 1.0
