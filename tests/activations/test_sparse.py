"""Sparsemax and 1.5-entmax, against the optimisation problems that define them."""

import math
from itertools import chain, combinations

import pytest
import torch
from coupled_checks import agrees_with_autograd, compiles, gradients_are_right, saved_bytes

from undertow.activations import activation

pytestmark = [
    # forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    # torch.compile makes an instance of an autograd.Function, which torch deprecates
    pytest.mark.filterwarnings("ignore:.class 'torch.autograd.function.Function'. should not:DeprecationWarning"),
]

NAMES = ["sparsemax", "entmax15"]


def nearest_distribution(x):
    """argmin ½‖p − x‖²: the best of the solutions on every face of the simplex."""
    n, best = len(x), None
    for face in chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1)):
        tau = (sum(x[i] for i in face) - 1) / len(face)
        p = [x[i] - tau if i in face else 0.0 for i in range(n)]
        distance = sum((a - b) ** 2 for a, b in zip(p, x, strict=True))
        if min(p) >= 0 and (best is None or distance < best[0]):
            best = distance, p
    return best[1]


def by_bisection(x):
    """1.5-entmax: the threshold τ with Σ max(x_i/2 − τ, 0)² = 1."""
    low, high = max(x) / 2 - 1, max(x) / 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(max(v / 2 - middle, 0) ** 2 for v in x) > 1 else (low, middle)
    return [max(v / 2 - low, 0) ** 2 for v in x]


DEFINED = {"sparsemax": nearest_distribution, "entmax15": by_bisection}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_definition(name, scale):
    x = scale * torch.randn(30, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor([DEFINED[name](row) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(name)(x), expected, rtol=0, atol=2e-15)
    assert (activation(name)(x.float()) - activation(name)(x.float().double())).abs().max() <= 2**-25


@pytest.mark.parametrize("name", NAMES)
def test_long_tied_and_masked_vectors(name):
    act = activation(name)
    x = 3 * torch.randn(4, 1000, dtype=torch.float64)
    assert torch.allclose(act(x).sum(-1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.allclose(act(1e6 + x), act(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(act(torch.zeros(8)), torch.full((8,), 1 / 8))
    torch.testing.assert_close(act(torch.tensor([5.0, -1e30, 0.0, -math.inf])), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(act(torch.tensor([2.0, -math.inf, 2.0])), torch.tensor([0.5, 0.0, 0.5]))
    assert act(torch.full((3,), -math.inf)).isnan().all()
    assert act(torch.tensor([0.0, math.nan])).isnan().all()
    masked = torch.tensor([0.3, -math.inf, 0.1], requires_grad=True)
    act(masked)[0].backward()
    assert masked.grad[1] == 0
    assert masked.grad.isfinite().all()


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_autograds(name, dim):
    torch.manual_seed(1)
    agrees_with_autograd(activation(name, dim=dim), torch.randn(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    torch.manual_seed(0)
    gradients_are_right(activation(name), torch.randn(3, 4, dtype=torch.float64))
    compiles(activation(name), torch.randn(3, 4))


@pytest.mark.parametrize("name", NAMES)
def test_one_tensor_is_kept(name):
    x = torch.randn(64, 32)
    assert saved_bytes(activation(name), x) == x.nbytes
