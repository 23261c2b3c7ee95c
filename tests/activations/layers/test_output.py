"""The backward pass from the output: one tensor for f and the next layer, within the error that each states."""

import pytest
import torch
from lean_pairs import kept_bytes
from torch import nn

import undertow as ut
from undertow.foundation import InputError

# largest error of f′ over |x| < 60: in ulp for those that hold it everywhere, else in eps of the dtype
EVERYWHERE = {"leaky_relu": 0.5, "exponential": 0.51, "softplus": 1.6, "logsigmoid": 1.6}
IN_TAILS = {"sigmoid": 0.5, "tanh": 1, "softsign": 1, "elu": 0.5, "celu": 0.5, "selu": 1.76 * 0.75}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def every(dtype):
    if dtype == torch.float32:
        return torch.cat([torch.linspace(-20, 20, 100_001), torch.linspace(-59, 59, 10_001)])
    x = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    return x[x.abs() < (10 if dtype == torch.float16 else 59)]  # e^x is above float16's largest number from 11.1 on


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*EVERYWHERE, *IN_TAILS])
def test_the_error_is_as_stated(name, dtype):
    act, x = ut.activation(name), every(dtype).requires_grad_()
    act.layer(keep="output")(x).backward(torch.ones_like(x))
    truth = act.derivative(x.detach().double())
    error, limits = (x.grad.double() - truth).abs(), torch.finfo(dtype)
    if name in IN_TAILS:
        assert error.max() <= IN_TAILS[name] * limits.eps
        assert error[truth.abs() > limits.tiny].max() > 0.2 * limits.eps  # the bound is no idle one
    else:
        ulp = torch.exp2(truth.abs().clamp_min(limits.tiny).log2().floor()) * limits.eps
        assert (error / ulp)[truth.abs() >= limits.tiny].max() <= EVERYWHERE[name]


def test_the_output_alone_is_kept():
    x = torch.randn(64, 16)
    for keep, tensors in (("output", 2), ("input", 3), (None, 3)):
        model = nn.Sequential(nn.Linear(16, 16), ut.activation("softplus").layer(keep=keep), nn.Linear(16, 16))
        assert kept_bytes(model(x), model) == tensors * x.nbytes
    ut.lean(model)
    assert kept_bytes(model(x), model) == 2 * x.nbytes
    model = nn.Sequential(nn.Linear(16, 16), ut.activation("exponential").layer(), nn.Linear(16, 16))
    assert kept_bytes(model(x), model) == 2 * x.nbytes  # exact, so by default


@pytest.mark.parametrize("name", [*EVERYWHERE, *IN_TAILS])
def test_derivatives_of_every_order_and_transform(name):
    layer, act = ut.activation(name).layer(keep="output"), ut.activation(name)
    x = torch.tensor([-2.5, -0.7, 0.3, 1.9], dtype=torch.float64, requires_grad=True)
    assert torch.equal(layer(x), act(x))
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    assert torch.allclose(torch.func.vmap(torch.func.grad(layer))(x), act.derivative(x), rtol=1e-14)


def test_a_changed_output_is_refused_as_torch_does():
    x = torch.randn(5, requires_grad=True)
    y = ut.activation("softplus").layer(keep="output")(x)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_who_watches_functions_sees_it():
    model = nn.Sequential(nn.Linear(8, 8), ut.activation("tanh").layer(keep="output"), nn.Linear(8, 3))
    batch = torch.randn(16, 8), torch.randint(0, 3, (16,))
    entries = ut.examine(model, batch, nn.functional.cross_entropy).ledger.entries
    assert [e.site.effect for e in entries] == ["weights", "activation", "weights"]


@pytest.mark.parametrize(
    ("act", "settings", "match"),
    [
        ("silu", {"keep": "output"}, "keep='output' for swish"),
        ("softplus", {"keep": "both"}, "keep='both'"),
        ("softmax", {"keep": "output"}, "keep='output' for softmax"),
        ("prelu", {"keep": "output"}, "trained"),
        (ut.activations.LeakyReLU(slope=-0.1), {"keep": "output"}, "slope=-0.1"),
        (ut.activations.ELU(alpha=-1.0), {"keep": "output"}, "alpha=-1.0"),
    ],
)
def test_what_is_refused(act, settings, match):
    with pytest.raises(InputError, match=match):
        (ut.activation(act) if isinstance(act, str) else act).layer(**settings)
