"""Clipped, shrinking, periodic and squared functions, against torch and against 60 digits."""

import math

import pytest
import torch
import torch.nn.functional as F
from truth import truths, ulps

from undertow.activations import activation
from undertow.foundation import InputError

# name, parameters, torch's function of the same name
TORCHS = [
    ("relu6", {}, F.relu6),
    ("relu6", {"limit": 2.5}, lambda x: x.clamp(0, 2.5)),
    ("hardtanh", {}, F.hardtanh),
    ("hardtanh", {"low": -0.25, "high": 3.0}, lambda x: F.hardtanh(x, -0.25, 3.0)),
    ("threshold", {"threshold": 0.5, "value": -2.0}, lambda x: F.threshold(x, 0.5, -2.0)),
    ("thresholded_relu", {}, lambda x: F.threshold(x, 1.0, 0.0)),
    ("softshrink", {}, F.softshrink),
    ("softshrink", {"lambd": 0.0}, lambda x: x),
    ("softshrink", {"lambd": 1.25}, lambda x: F.softshrink(x, 1.25)),
    ("hardshrink", {}, F.hardshrink),
    ("hardshrink", {"lambd": 1.25}, lambda x: F.hardshrink(x, 1.25)),
    ("rrelu", {}, lambda x: F.rrelu(x, training=False)),
    ("rrelu", {"lower": 0.25, "upper": 0.75}, lambda x: F.leaky_relu(x, 0.5)),
    ("relu_squared", {}, lambda x: F.relu(x) ** 2),
    ("sin", {}, torch.sin),
]
SMOOTH = ["tanhshrink", "sin", "siren", "snake", "sine_relu", "rrelu", "relu_squared", "softshrink"]


def named(value: object) -> str:
    """The same in each of xdist's processes: a lambda's own text has its address."""
    return "" if callable(value) else str(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "parameters", "torchs"), TORCHS, ids=named)
def test_values_are_torchs(name, parameters, torchs, dtype):
    ends = torch.tensor([-math.inf, math.inf, math.nan]) if name != "sin" else torch.empty(0)
    x = torch.cat([torch.linspace(-8, 8, 1025), ends]).to(dtype)
    torch.testing.assert_close(activation(name, **parameters)(x), torchs(x), equal_nan=True)


@pytest.mark.parametrize(("name", "parameters", "torchs"), TORCHS, ids=named)
def test_derivatives_are_torchs_away_from_kinks(name, parameters, torchs):
    act, x = activation(name, **parameters), torch.linspace(-8, 8, 1026, dtype=torch.float64, requires_grad=True)
    (theirs,) = torch.autograd.grad(torchs(x).sum(), x)
    (ours,) = torch.autograd.grad(act(x).sum(), x)
    torch.testing.assert_close(act.derivative(x), theirs)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_the_last_digit(name, dtype):
    act = activation(name)
    random = torch.Generator().manual_seed(1)
    sizes = torch.logspace(-9, 2, 12, dtype=torch.float64) * (1 + torch.rand(12, generator=random))
    x = torch.cat([sizes, -sizes, torch.tensor([2.0**-9, -(2.0**-9), 1e-8])]).to(dtype)
    got = torch.stack([act(x), act.derivative(x), act.second_derivative(x)], 1).tolist()
    for at, three in zip(x.tolist(), got, strict=True):
        for order, (value, true) in enumerate(zip(three, truths(act, at), strict=True)):
            # a sine has zeros of f′ and f″: there in units of its height
            assert ulps(value, true, dtype, scale=1.0 if order and name in ("snake", "siren", "sin") else None) < 2, at


def test_tanhshrink_of_small_numbers_is_a_third_of_their_cube():
    x = torch.tensor([1e-3, -1e-8, 1e-12], dtype=torch.float32)
    cubes = x.double() ** 3 / 3
    torch.testing.assert_close(activation("tanhshrink")(x), cubes.float(), rtol=1e-6, atol=0)
    assert (F.tanhshrink(x[1:]) == 0).all(), "torch's has lost them"


@pytest.mark.parametrize("name", ["relu6", "hardtanh", "threshold", "thresholded_relu", "softshrink", "hardshrink"])
def test_at_a_kink_the_derivative_is_from_the_left(name):
    act = activation(name)
    assert act.kinks
    for kink in act.kinks:
        assert act.derivative(kink) == act.derivative(kink - 1e-9)


def test_kinks_move_with_the_parameters():
    assert activation("hardtanh", low=-2.0, high=3.0).kinks == (-2.0, 3.0)
    assert activation("hardshrink", lambd=torch.tensor([0.25, 0.5])).kinks == (-0.5, -0.25, 0.25, 0.5)
    assert activation("relu6", limit=1.0).kinks == (0.0, 1.0)


def test_sines_have_no_limit():
    ends = torch.tensor([-math.inf, math.inf])
    assert activation("sin")(ends).isnan().all()
    assert torch.equal(activation("snake")(ends), ends)
    assert activation("snake").derivative(ends).isnan().all()
    largest = torch.tensor([torch.finfo(torch.float64).max], dtype=torch.float64)
    for name in ("sin", "siren", "snake", "sine_relu"):
        act = activation(name, **({"a": 3.0} if name == "snake" else {}))
        for x in (largest, -largest):
            assert all(f(x).isfinite().all() for f in (act, act.derivative, act.second_derivative))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("relu6", {"limit": 0.0}), ("hardtanh", {"low": 1.0}), ("softshrink", {"lambd": -1.0}), ("snake", {"a": 0.0})],
)
def test_wrong_parameters_are_refused(name, wrong):
    with pytest.raises(InputError, match=r"expected .*Try: "):
        activation(name, **wrong)


@pytest.mark.parametrize("name", ["relu6", "hardtanh", "softshrink", "snake", "rrelu"])
def test_parameters_can_be_trained(name):
    layer = activation(name).layer(trainable=True, channels=3).double()
    x = torch.linspace(-7, 7, 33, dtype=torch.float64).reshape(11, 3)
    parameters = list(layer.parameters())
    assert torch.autograd.gradcheck(lambda *_: layer(x), parameters)
    layer(x).sum().backward()
    assert all(p.grad.shape == (3,) for p in parameters)
