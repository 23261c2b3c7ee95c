"""The plane against single points of it."""

import numpy as np
import pytest

from undertow.theory import criticality
from undertow.theory.phases import phases


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_each_point_is_what_it_is_alone(name):
    weights, biases = np.array([0.5, 1.6, 2.6]), np.array([0.0, 0.05, 0.4])
    plane = phases(name, weights, biases)
    assert plane.q.shape == (3, 3)
    for (i, j), q in np.ndenumerate(plane.q):
        alone = criticality(name, weights[j], biases[i])
        assert q == pytest.approx(alone.q, rel=1e-3, abs=1e-9)
        assert plane.chi_perp[i, j] == pytest.approx(alone.chi_perp, rel=2e-3)
        assert plane.trainable_depth[i, j] == pytest.approx(alone.trainable_depth, rel=0.05)


def test_near_the_critical_line_it_still_settles():
    # χ∥ = 0.995: one by one, the variance would take thousands of layers
    plane = phases("relu", np.array([1.99, 2.01]), np.array([0.01]))
    assert plane.q[0] == pytest.approx([0.01 / (1 - 1.99 / 2), np.inf], rel=1e-2)
