"""The funnel as a definition."""

import numpy as np
import pytest
import torch

from undertow.activations import FReLU
from undertow.foundation import InputError


@pytest.fixture
def act():
    generator = torch.Generator().manual_seed(0)
    window = torch.randn(3, 1, 3, 3, generator=generator, dtype=torch.float64) / 3
    return FReLU(window=window, bias=torch.randn(3, generator=generator, dtype=torch.float64))


def test_value_by_hand(act):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    condition = np.einsum("nchwij,cij->nchw", windows, act.window[:, 0].numpy()) + act.bias.numpy()[:, None, None]
    assert np.allclose(act(x), np.maximum(x, condition), atol=1e-12)
    assert np.allclose(act(x[0]), np.maximum(x, condition)[0], atol=1e-12)


def test_derivative_is_the_diagonal_of_the_jacobian(act):
    x = torch.randn(1, 3, 3, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(act, x).reshape(27, 27)
    assert torch.allclose(act.derivative(x).flatten(), jacobian.diagonal())
    assert torch.autograd.gradcheck(act, x.requires_grad_())
    assert torch.equal(act.second_derivative(x), torch.zeros_like(x))


def test_relu_is_the_funnel_with_an_empty_window():
    act = FReLU(window=torch.zeros(1, 1, 3, 3))
    x = torch.tensor([[[-1.0, 0.0, 2.0]]], requires_grad=True)
    act(x).sum().backward()
    assert torch.equal(act(x), torch.relu(x))
    assert torch.equal(x.grad, torch.tensor([[[0.0, 0.0, 1.0]]]))
    assert torch.equal(act.derivative(x), x.grad)


def test_errors_say_what_to_type(act):
    with pytest.raises(InputError, match=r"without a window.*\.layer\(channels=64\)"):
        FReLU()(torch.randn(1, 3, 4, 4))
    for shape in ((3,), (3, 4), (1, 2, 4, 4), (1, 1, 3, 4, 4)):
        with pytest.raises(InputError, match=r"\(N, C, H, W\) or \(C, H, W\)"):
            act(torch.randn(shape))


def test_nan_passes(act):
    x = torch.zeros(1, 3, 5, 5)
    x[0, 0, 2, 2] = torch.nan
    assert act(x)[0, 0, 2, 2].isnan()
