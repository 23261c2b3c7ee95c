"""Softmax: value, Jacobian, second derivative."""

import numpy as np
import pytest
import torch

from undertow.activations import Softmax
from undertow.foundation import InputError

# forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_derivatives_are_autograds(dim):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    act, n = Softmax(dim=dim), x.shape[dim]
    first, second = act.derivative(x), act.second_derivative(x)
    rows = x.movedim(dim, -1).reshape(-1, n)
    assert first.shape == (*x.movedim(dim, -1).shape, n)
    assert second.shape == (*first.shape, n)
    for row, j, h in zip(rows, first.reshape(-1, n, n), second.reshape(-1, n, n, n), strict=True):
        softmax = Softmax()
        assert torch.allclose(j, torch.autograd.functional.jacobian(softmax, row), atol=1e-14)
        assert torch.allclose(h, torch.func.jacfwd(torch.func.jacrev(softmax))(row), atol=1e-14)


def test_no_cancellation_where_one_output_is_almost_1():
    x = torch.tensor([40.0, 0.0, -1.0], dtype=torch.float32)
    exact = Softmax().derivative(x.double())
    assert torch.allclose(Softmax().derivative(x).double(), exact, rtol=1e-5, atol=0)
    assert exact[0, 0] > 0


def test_rows_add_to_nothing_and_shifts_change_nothing():
    x = torch.randn(5, 7, dtype=torch.float64)
    assert torch.allclose(Softmax()(x).sum(-1), torch.ones(5, dtype=torch.float64))
    assert Softmax().derivative(x).sum(-1).abs().max() < 1e-16
    assert torch.allclose(Softmax()(x + 1e3), Softmax()(x), rtol=1e-11)


def test_kinds():
    assert Softmax()(np.ones(4, dtype=np.float32)).dtype == np.float32
    half = torch.randn(3, 5).half()
    assert torch.equal(Softmax()(half), torch.softmax(half.float(), -1).half())
    with pytest.raises(InputError, match=r"shape \(\) for softmax"):
        Softmax()(1.0)
    with pytest.raises(InputError, match="over dimension 2"):
        Softmax(dim=2).derivative(torch.randn(3, 4))
    with pytest.raises(InputError, match="whole number"):
        Softmax(dim="last")
