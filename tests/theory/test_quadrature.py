"""Nodes and weights against moments that are known."""

import math

import numpy as np
import pytest

from undertow.theory import gaussian_nodes


@pytest.mark.parametrize(("mean", "variance"), [(0, 1), (0, 1e-6), (0, 1e4), (3, 2), (-50, 0.01)])
def test_moments_of_the_gaussian_itself(mean, variance):
    x, w = gaussian_nodes(mean, variance)
    z = (x - mean) / math.sqrt(variance)
    assert [w @ z**k for k in range(7)] == pytest.approx([1, 0, 1, 0, 3, 0, 15], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kink", [-2.3, -1e-5, 0.0, 0.7, 13.0, 99.0])
def test_a_jump_anywhere_is_exact(kink):
    x, w = gaussian_nodes(0, 1, (kink,))
    assert w @ (x > kink) == pytest.approx(math.erfc(kink / math.sqrt(2)) / 2, rel=1e-12, abs=1e-40)


def test_a_jump_that_is_not_named_is_not_exact():
    x, w = gaussian_nodes(0, 1)
    assert abs(w @ (x > 0.7) - math.erfc(0.7 / math.sqrt(2)) / 2) > 1e-6


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_features_of_any_scale_near_0(scale):
    x, w = gaussian_nodes(0, 1)
    # E[exp(−(u/s)²)] = s / √(s² + 2)
    assert w @ np.exp(-((x / scale) ** 2)) == pytest.approx(scale / math.sqrt(scale**2 + 2), rel=1e-12)
