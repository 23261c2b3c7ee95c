"""Gated linear units and maxout."""

import pytest
import torch
import torch.nn.functional as F
from coupled_checks import agrees_with_autograd, compiles, gradients_are_right, saved_bytes

from undertow.activations import activation
from undertow.foundation import InputError

pytestmark = [
    # forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    # torch.compile makes an instance of an autograd.Function, which torch deprecates
    pytest.mark.filterwarnings("ignore:.class 'torch.autograd.function.Function'. should not:DeprecationWarning"),
]

GATES = {
    "glu": torch.sigmoid,
    "reglu": torch.relu,
    "geglu": F.gelu,
    "swiglu": F.silu,
    "bilinear": lambda b: b,
}
NAMES = [*GATES, "maxout"]


@pytest.mark.parametrize("dim", [-1, 1, 0])
@pytest.mark.parametrize("name", GATES)
def test_a_half_gates_the_other(name, dim):
    x = torch.randn(4, 6, 2, dtype=torch.float64)
    a, b = x.chunk(2, dim)
    torch.testing.assert_close(activation(name, dim=dim)(x), a * GATES[name](b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", GATES)
def test_rounding(name, dtype):
    """16 bits once; float32 by the gate and by the product: 2 ulp and a half."""
    x = (4 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))).to(dtype)
    exact, got = activation(name)(x.double()), activation(name)(x).double()
    if dtype == torch.float32:
        ulp = exact.abs() * torch.finfo(dtype).eps
        assert ((got - exact).abs() <= 2.5 * ulp).all()
    else:
        ulp = torch.exp2(exact.abs().clamp_min(torch.finfo(dtype).tiny).log2().floor()) * torch.finfo(dtype).eps
        assert ((got - exact).abs() <= 0.51 * ulp).all()


def test_glu_is_torchs():
    x = torch.randn(3, 8, requires_grad=True)
    ours, theirs = activation("glu")(x), F.glu(x, -1)
    torch.testing.assert_close(ours, theirs)
    (a,), (b,) = (torch.autograd.grad(y.square().sum(), x) for y in (ours, theirs))
    torch.testing.assert_close(a, b)


def test_maxout_takes_the_largest_neighbour():
    x = torch.tensor([[1.0, 3.0, 2.0, -1.0, -5.0, -2.0]])
    assert activation("maxout")(x).tolist() == [[3.0, 2.0, -2.0]]
    assert activation("maxout", pieces=3)(x).tolist() == [[3.0, -1.0]]
    image = torch.randn(2, 6, 4, 5)
    assert torch.equal(activation("maxout", dim=1)(image), torch.maximum(image[:, ::2], image[:, 1::2]))
    tied = torch.ones(4, requires_grad=True)
    activation("maxout")(tied).sum().backward()
    assert tied.grad.sum() == 2
    assert activation("maxout")(torch.tensor([0.0, torch.nan])).isnan().all()


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_autograds(name, dim):
    torch.manual_seed(0)
    agrees_with_autograd(activation(name, dim=dim), torch.randn(4, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    torch.manual_seed(0)
    gradients_are_right(activation(name), torch.randn(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_compiles(name):
    compiles(activation(name), torch.randn(3, 4))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_input_alone_is_kept(name, dtype):
    x = torch.randn(64, 32).to(dtype)
    assert saved_bytes(activation(name), x) == x.nbytes


def test_errors():
    with pytest.raises(InputError, match="3 entries along dimension -1 for swiglu; expected an even number"):
        activation("swiglu")(torch.randn(2, 3))
    with pytest.raises(InputError, match=r"shape \(\) for glu"):
        activation("glu")(1.0)
    with pytest.raises(InputError, match="a multiple of 3"):
        activation("maxout", pieces=3)(torch.randn(4))
    with pytest.raises(InputError, match="whole number from 2"):
        activation("maxout", pieces=1)
    with pytest.raises(InputError, match="floating point"):
        activation("glu")(torch.arange(4))
