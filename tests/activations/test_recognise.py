"""Names, modules, functions and calls of torch functions, told from what they are not."""

import functools
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from undertow.activations import Custom, PReLU, ReLU, Softmax, Swish, Tanh, activation, recognise, recognise_call
from undertow.activations.recognition.modules import LIBRARIES

X = torch.linspace(-4, 4, 24).reshape(2, 3, 4)
MODULES = [
    (nn.ReLU(inplace=True), "relu", {}),
    (nn.Sigmoid(), "sigmoid", {}),
    (nn.Tanh(), "tanh", {}),
    (nn.SiLU(), "silu", {}),
    (nn.LeakyReLU(0.2), "leaky_relu", {"slope": 0.2}),
    (nn.ELU(0.5), "elu", {"alpha": 0.5}),
    (nn.RReLU(0.1, 0.3).eval(), "rrelu", {"lower": 0.1, "upper": 0.3}),
    (nn.ReLU6(), "relu6", {}),
    (nn.GELU(), "gelu", {}),
    (nn.GELU("tanh"), "gelu_tanh", {}),
    (nn.SELU(), "selu", {}),
    (nn.CELU(0.5), "celu", {"alpha": 0.5}),
    (nn.Softplus(2.0), "softplus", {"beta": 2.0}),
    (nn.Mish(), "mish", {}),
    (nn.Hardtanh(-2, 3), "hardtanh", {"low": -2.0, "high": 3.0}),
    (nn.Hardtanh(0, 6), "relu6", {}),
    (nn.Hardswish(), "hardswish", {}),
    (nn.Hardsigmoid(), "hardsigmoid", {}),
    (nn.LogSigmoid(), "logsigmoid", {}),
    (nn.Softsign(), "softsign", {}),
    (nn.Tanhshrink(), "tanhshrink", {}),
    (nn.Softshrink(0.3), "softshrink", {"lambd": 0.3}),
    (nn.Hardshrink(0.7), "hardshrink", {"lambd": 0.7}),
    (nn.Threshold(0.5, -1.0), "threshold", {"threshold": 0.5, "value": -1.0}),
    (nn.Softmax(dim=2), "softmax", {"dim": 2}),
    (nn.LogSoftmax(dim=2), "log_softmax", {"dim": 2}),
    (nn.Softmin(dim=2), "softmin", {"dim": 2}),
    (nn.Softmax2d(), "softmax", {"dim": -3}),
    (nn.GLU(dim=2), "glu", {"dim": 2}),
]


def near(a, b):
    """As near as torch's own float32 is to the truth."""
    return torch.allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("module", "name", "parameters"), MODULES, ids=lambda v: str(v))
def test_modules_of_torch(module, name, parameters):
    act = recognise(module)
    assert act == activation(name, **parameters)
    assert near(act(X), module(X.clone()))


def test_every_module_of_torch_has_its_definition():
    seen = {type(module).__name__ for module, *_ in MODULES}
    assert set(nn.modules.activation.__all__) - seen == {"MultiheadAttention", "PReLU"}


def test_softplus_that_is_the_identity_early_is_no_softplus():
    act = recognise(nn.Softplus(1.0, 2.0))
    assert isinstance(act, Custom)
    assert near(act(X), nn.Softplus(1.0, 2.0)(X))
    assert act == recognise(nn.Softplus(1.0, 2.0))
    assert hash(act) == hash(recognise(nn.Softplus(1.0, 2.0)))


def test_every_activation_of_hugging_face():
    hf = pytest.importorskip("transformers.activations")
    x = torch.linspace(-12, 12, 97)
    for name in hf.ACT2CLS:
        module = hf.ACT2FN[name]
        act = recognise(module)
        assert act is not None, name
        assert act.name == activation(name).name
        if name != "xielu":  # which starts in bfloat16
            assert near(act(x), module(x)), name


def test_xielu_of_hugging_face_keeps_its_parameters():
    hf = pytest.importorskip("transformers.activations")
    module = hf.XIELUActivation(alpha_p_init=0.7, alpha_n_init=0.9, dtype=torch.float64)
    act = recognise(module)
    assert near(act(X.double()), module._xielu_python(X.double()))


@pytest.mark.parametrize(
    ("home", "name", "expected"),
    [
        ("timm.layers.activations", "Swish", "silu"),
        ("timm.layers.activations", "Mish", "mish"),
        ("timm.layers.activations", "Sigmoid", "sigmoid"),
        ("timm.layers.activations", "Tanh", "tanh"),
        ("timm.layers.activations", "HardSwish", "hardswish"),
        ("timm.layers.activations", "HardSigmoid", "hardsigmoid"),
        ("timm.layers.activations", "HardMish", "hard_mish"),
        ("timm.layers.activations", "GELU", "gelu"),
        ("timm.layers.activations", "GELUTanh", "gelu_tanh"),
        ("timm.layers.activations", "QuickGELU", "quick_gelu"),
        ("timm.layers.activations_me", "SwishMe", "silu"),
        ("timm.layers.activations_me", "MishMe", "mish"),
        ("timm.layers.activations_me", "HardSigmoidMe", "hardsigmoid"),
        ("timm.layers.activations_me", "HardSwishMe", "hardswish"),
        ("timm.layers.activations_me", "HardMishMe", "hard_mish"),
        ("somebody.else", "Swish", None),
    ],
)
def test_classes_of_timm_by_their_place(home, name, expected):
    """timm itself needs torchvision: a class of the same name in a module of the same name stands for it."""
    source = "from torch import nn\nclass {0}(nn.Module):\n    def forward(self, x):\n        return x.sin()\n"
    module = types.ModuleType(home)
    exec(source.format(name), vars(module))
    assert recognise(getattr(module, name)()) == (expected and activation(expected))
    assert home not in sys.modules


def test_prelu_of_timm_has_its_slope():
    source = "from torch import nn\nclass PReLU(nn.PReLU):\n    def forward(self, x): return x\n"
    module = types.ModuleType("timm.layers.activations")
    exec(source, vars(module))
    assert recognise(module.PReLU(init=0.4)).slope.item() == pytest.approx(0.4)
    assert "timm.layers.activations" in LIBRARIES


def test_prelu_shares_the_modules_slope():
    module = nn.PReLU(3)
    act = recognise(module)
    assert isinstance(act, PReLU)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(act(X), module(X))
    assert not act.slope.requires_grad


def written_out(x, slope=0.3):
    return torch.where(x > 0, x, slope * x)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (F.silu, "silu"),
        (torch.sigmoid, "sigmoid"),
        (torch.Tensor.tanh, "tanh"),
        (torch.Tensor.relu_, "relu"),
        (torch.special.expit, "sigmoid"),
        (F.gelu, "gelu"),
        (functools.partial(F.gelu, approximate="tanh"), "gelu_tanh"),
        (F.logsigmoid, "logsigmoid"),
        (functools.partial(F.leaky_relu, negative_slope=0.2), activation("leaky_relu", slope=0.2)),
        (functools.partial(F.softmax, dim=-1), activation("softmax")),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (written_out, activation("leaky_relu", slope=0.3)),
        (functools.partial(written_out, slope=0.1), activation("leaky_relu", slope=0.1)),
        (torch.add, None),
        (F.linear, None),
        (F.dropout, None),
        (torch.clamp, None),
        (len, None),
        (print, None),
        (lambda x, y: x * torch.sigmoid(y), None),
        (lambda x: x + 1, None),
        (lambda x: x if x.sum() > 0 else -x, None),
        (lambda: 3, None),
    ],
)
def test_functions(function, expected):
    assert recognise(function) == (activation(expected) if isinstance(expected, str) else expected)


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
        nn.Sequential(nn.ReLU()),
        Other(),
        nn.RReLU(),
        "no such name",
        3,
        None,
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
def test_calls_are_taken_out_of_place(call):
    with Seen() as seen:
        call(X.clone())
    act, out = next((a, o) for a, o in seen.calls if a is not None)
    before = X.clone()
    assert near(act(X), out)
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
        ("log_softmax", (X, "last"), {}),
        ("glu", (X, None), {}),
        ("hardtanh", (X, X), {}),
        ("softplus", (X, 1, "20"), {}),
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
