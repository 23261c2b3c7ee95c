"""Modules and calls of torch functions, told from what they are not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from undertow.activations import (
    ELU,
    Custom,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Swish,
    Tanh,
    recognise,
    recognise_call,
)
from undertow.activations.recognise import _MODULES

X = torch.linspace(-4, 4, 24).reshape(2, 3, 4)
MODULES = [
    (nn.ReLU(inplace=True), ReLU()),
    (nn.Sigmoid(), Sigmoid()),
    (nn.Tanh(), Tanh()),
    (nn.SiLU(), Swish()),
    (nn.LeakyReLU(0.2), LeakyReLU(0.2)),
    (nn.ELU(0.5), ELU(0.5)),
    (nn.Softmax(dim=2), Softmax(2)),
    (nn.RReLU(0.1, 0.3).eval(), LeakyReLU(0.2)),
]
CUSTOM = [
    nn.ReLU6(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SELU(),
    nn.CELU(0.5),
    nn.Softplus(2.0),
    nn.Mish(),
    nn.Hardtanh(-2, 2),
    nn.Hardswish(),
    nn.Hardsigmoid(),
    nn.LogSigmoid(),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.Softshrink(0.3),
    nn.Hardshrink(),
    nn.Threshold(0.5, -1.0),
]


@pytest.mark.parametrize(("module", "expected"), MODULES, ids=lambda v: type(v).__name__)
def test_modules_of_the_catalogue(module, expected):
    assert recognise(module) == expected
    assert torch.allclose(expected(X), module(X.clone()))


@pytest.mark.parametrize("module", CUSTOM, ids=repr)
def test_other_modules_are_replayed(module):
    act = recognise(module)
    assert isinstance(act, Custom)
    assert torch.equal(act(X), module(X))
    assert act == recognise(module)
    assert hash(act) == hash(recognise(module))


def test_every_pointwise_module_of_torch_is_known():
    coupling = {"GLU", "MultiheadAttention", "Softmax", "LogSoftmax", "Softmax2d", "Softmin"}
    known = {cls.__name__ for cls in _MODULES}
    assert set(nn.modules.activation.__all__) - coupling <= known


def test_prelu_shares_the_modules_slope():
    module = nn.PReLU(3)
    act = recognise(module)
    assert isinstance(act, PReLU)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(act(X), module(X))
    assert not act.slope.requires_grad


class Mine(nn.ReLU):
    pass


class Other(nn.ReLU):
    def forward(self, x):
        return torch.sin(x)


@pytest.mark.parametrize(
    "thing",
    [
        nn.Linear(2, 2),
        nn.Identity(),
        nn.BatchNorm1d(2),
        nn.Dropout(),
        nn.LogSoftmax(dim=1),
        nn.Sequential(nn.ReLU()),
        Other(),
        nn.RReLU(),
        "no such name",
        3,
        None,
        torch.relu,
        nn.ReLU,
    ],
)
def test_what_is_no_activation(thing):
    assert recognise(thing) is None


def test_names_instances_and_subclasses():
    assert recognise("silu") == Swish()
    assert recognise(Tanh()) == Tanh()
    assert recognise(Mine()) == ReLU()


class Seen(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((recognise_call(func.__name__, args, kwargs or {}), out))
        return out


CALLS = [
    lambda x: F.relu(x),
    lambda x: F.relu(x, inplace=True),
    lambda x: x.relu_(),
    lambda x: x.clamp(min=0),
    lambda x: torch.clamp(x, 0),
    lambda x: x.clamp_min(0.0),
    lambda x: x.clamp_(0),
    lambda x: F.leaky_relu(x, 0.2),
    lambda x: F.leaky_relu(x, negative_slope=0.3),
    lambda x: F.leaky_relu_(x, 0.2),
    lambda x: F.elu(x, alpha=0.5),
    lambda x: F.elu_(x),
    lambda x: F.silu(x, inplace=True),
    lambda x: torch.sigmoid(x),
    lambda x: x.sigmoid_(),
    lambda x: F.tanh(x),
    lambda x: x.tanh_(),
    lambda x: F.softmax(x, dim=1),
    lambda x: torch.softmax(x, -1),
    lambda x: x.softmax(2),
    lambda x: F.rrelu(x),
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: F.selu(x),
    lambda x: F.celu(x, 0.5),
    lambda x: F.softplus(x, 2, 10),
    lambda x: F.mish(x, inplace=True),
    lambda x: F.hardtanh(x, -2, 2),
    lambda x: F.hardtanh_(x),
    lambda x: F.relu6(x),
    lambda x: F.hardswish(x),
    lambda x: F.hardsigmoid(x),
    lambda x: F.logsigmoid(x),
    lambda x: F.softsign(x),
    lambda x: F.tanhshrink(x),
    lambda x: F.softshrink(x, 0.2),
    lambda x: F.hardshrink(x),
    lambda x: F.threshold(x, 0.1, 2.0),
    lambda x: x.abs_(),
    lambda x: abs(x),
    lambda x: x.exp(),
    lambda x: torch.sin(x),
    lambda x: x**2,
    lambda x: x.pow(3),
    lambda x: torch.square(x),
    lambda x: torch.erf(x),
    lambda x: torch.clamp(x, -1, 1),
    lambda x: x.clamp_max(1.0),
    lambda x: torch.special.expit(x),
    lambda x: torch.atan(x),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_replayed_out_of_place(call):
    with Seen() as seen:
        call(X.clone())
    act, out = next((a, o) for a, o in seen.calls if a is not None)
    before = X.clone()
    assert torch.allclose(act(X), out)
    assert torch.equal(X, before)


def test_prelu_call():
    assert torch.equal(
        recognise_call("prelu", (X, torch.tensor([0.1, 0.2, 0.3])))(X), F.prelu(X, torch.tensor([0.1, 0.2, 0.3]))
    )


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("relu", (), {}),
        ("relu", (3,), {}),
        ("relu", (torch.arange(3),), {}),
        ("relu", (X.to(torch.cfloat),), {}),
        (None, (X,), {}),
        ("pow", (2, X), {}),
        ("pow", (X, X), {}),
        ("pow", (X,), {}),
        ("clamp", (X,), {}),
        ("clamp", (X, X), {}),
        ("clamp_min", (X,), {}),
        ("leaky_relu", (X, "steep"), {}),
        ("leaky_relu", (X, X), {}),
        ("prelu", (X,), {}),
        ("prelu", (X, 0.1), {}),
        ("elu", (X, None), {}),
        ("softmax", (X, "last"), {}),
        ("rrelu", (X, 0.1, 0.3, True), {}),
        ("threshold", (X,), {}),
        ("gelu", (X,), {"approximate": object()}),
        ("add", (X, X), {}),
        ("linear", (X, X), {}),
        ("log_softmax", (X, 1), {}),
        ("__rpow__", (X, 2), {}),
        ("dropout", (X,), {}),
        ("_", (X,), {}),
        ("__get__", (X,), {}),
    ],
)
def test_odd_calls_are_none(name, args, kwargs):
    assert recognise_call(name, args, kwargs) is None


def test_softmax_without_a_dimension_takes_torchs_own():
    assert recognise_call("softmax", (torch.ones(2, 3),), {"dim": None}) == Softmax(1)
    assert recognise_call("softmax", (torch.ones(2, 3, 4),), {"dim": None}) == Softmax(0)
