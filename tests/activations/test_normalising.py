"""Softmax and its kin: values to the last digit, Jacobians, second derivatives, lean gradients."""

import math

import mpmath
import numpy as np
import pytest
import torch
from coupled_checks import agrees_with_autograd, compiles, gradients_are_right, saved_bytes
from mpmath import mpf
from truth import ulps

from undertow.activations import activation
from undertow.foundation import InputError

pytestmark = [
    # forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    # torch.compile makes an instance of an autograd.Function, which torch deprecates
    pytest.mark.filterwarnings("ignore:.class 'torch.autograd.function.Function'. should not:DeprecationWarning"),
]

NAMES = ["softmax", "log_softmax", "softmin", "solu"]


def exactly(name, row):
    """In 60 digits."""
    with mpmath.workdps(60):
        x = [mpf(v) * (-1 if name == "softmin" else 1) for v in row]
        e = [mpmath.exp(v - max(x)) for v in x]
        s = [v / mpmath.fsum(e) for v in e]
        if name == "log_softmax":  # by the sum of the others, as ln(1 − 1e-70) needs more than 60 digits
            return [-mpmath.log1p(mpmath.fsum(e[:i] + e[i + 1 :]) / e[i]) for i in range(len(e))]
        return [a * b for a, b in zip(row, s, strict=True)] if name == "solu" else s


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 0.51), (torch.float64, 8.0)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_last_digit(name, dtype, allowed):
    x = 10 * torch.randn(3, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[2, 7] = 90.0  # almost everything in one entry
    x = x.to(dtype)
    for row, got in zip(x.tolist(), activation(name)(x).tolist(), strict=True):
        worst = max(ulps(g, true, dtype) for g, true in zip(got, exactly(name, row), strict=True))
        assert worst <= allowed, worst


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_rounded_once(name, dtype):
    act, x = activation(name), torch.randn(3, 50).to(dtype)
    assert torch.equal(act(x), act(x.double()).to(dtype))


@pytest.mark.parametrize("name", NAMES)
def test_torchs_where_torch_has_it(name):
    act, x = activation(name, dim=1), torch.randn(2, 5, 3)
    theirs = {"solu": lambda t, dim: t * torch.softmax(t, dim), "softmin": torch.nn.functional.softmin}
    function = theirs.get(name) or getattr(torch, name)
    torch.testing.assert_close(act(x), function(x, dim=1))


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_autograds(name, dim):
    agrees_with_autograd(activation(name, dim=dim), torch.randn(2, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    torch.manual_seed(0)
    gradients_are_right(activation(name), torch.randn(3, 4, dtype=torch.float64))
    compiles(activation(name), torch.randn(3, 4))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_tensor_is_kept(name, dtype):
    x = torch.randn(64, 32).to(dtype)
    assert saved_bytes(activation(name), x) == x.nbytes


def test_masks():
    x = torch.tensor([[0.0, -math.inf, 1.0], [-math.inf, -math.inf, -math.inf]], requires_grad=True)
    for name in ("softmax", "log_softmax"):
        theirs = getattr(torch, name)(x, -1)
        torch.testing.assert_close(activation(name)(x), theirs, equal_nan=True)
    y = activation("softmax")(x[0])
    assert y[1] == 0
    (gradient,) = torch.autograd.grad(y[2], x)
    assert gradient[0].isfinite().all()
    assert activation("solu")(x[:1]).isfinite().all()
    for name in NAMES:
        assert activation(name)(torch.tensor([0.0, math.nan])).isnan().all()


def test_no_cancellation_where_one_output_is_almost_1():
    x = torch.tensor([40.0, 0.0, -1.0], dtype=torch.float32)
    softmax, exact = activation("softmax"), activation("softmax").derivative(x.double())
    torch.testing.assert_close(softmax.derivative(x).double(), exact, rtol=1e-6, atol=0)
    assert exact[0, 0] > 0


def test_the_gradient_of_a_loss_that_is_almost_0():
    x = torch.tensor([40.0, 0.0, -1.0], requires_grad=True)
    loss = -activation("log_softmax")(x)[0]
    (gradient,) = torch.autograd.grad(loss, x)
    rest = math.exp(-40) + math.exp(-41)
    assert loss.item() == pytest.approx(rest, rel=1e-6)
    assert gradient[0].item() == pytest.approx(-rest, rel=1e-6)
    assert torch.log_softmax(x, -1)[0] == 0, "torch's is rounded to 0"


def test_rows_add_to_nothing_and_shifts_change_nothing():
    x, softmax = torch.randn(5, 7, dtype=torch.float64), activation("softmax")
    assert torch.allclose(softmax(x).sum(-1), torch.ones(5, dtype=torch.float64))
    assert softmax.derivative(x).sum(-1).abs().max() < 1e-16
    assert torch.allclose(softmax(x + 1e3), softmax(x), rtol=1e-11)


def test_softmax2d_is_over_the_channels():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(activation("softmax2d")(x), torch.nn.Softmax2d()(x))


def test_kinds():
    softmax = activation("softmax")
    assert softmax(np.ones(4, dtype=np.float32)).dtype == np.float32
    with pytest.raises(InputError, match=r"shape \(\) for softmax"):
        softmax(1.0)
    with pytest.raises(InputError, match="over dimension 2"):
        activation("softmax", dim=2).derivative(torch.randn(3, 4))
    with pytest.raises(InputError, match="whole number"):
        activation("softmax", dim="last")
