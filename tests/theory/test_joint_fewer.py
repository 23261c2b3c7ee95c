"""The cheaper quadrature of a forecast against the fine one."""

import pytest

from undertow.theory.joint import FEWER, joint


@pytest.mark.parametrize("act", ["relu", "tanh", "gelu", "selu", "hardswish"])
@pytest.mark.parametrize("q", [0.01, 1.0, 30.0])
def test_fewer_nodes_are_near(act, q):
    alone = joint(act, q, 1.0)
    for c in (-0.3, 0.4, 0.999):
        fine, cheap = joint(act, q, c), joint(act, q, c, nodes=FEWER)
        assert cheap.E_ff == pytest.approx(fine.E_ff, abs=2e-6 * alone.E_ff)
        assert cheap.E_dfdf == pytest.approx(fine.E_dfdf, abs=2e-6 * alone.E_dfdf)
