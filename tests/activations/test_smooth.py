"""The smooth families: against torch's and Hugging Face's own, against each other, and what their pages state."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations import ACTIVATIONS, activation, names
from undertow.activations.functions import algebraic, elish, exponential, gated, gelu, hard, logish, mish, sigmoidal
from undertow.activations.functions import softplus as softplus_family
from undertow.foundation import InputError

INF = math.inf
FAMILIES = (algebraic, elish, exponential, gated, gelu, hard, logish, mish, sigmoidal, softplus_family)
SMOOTH = tuple(n for n in names() if ACTIVATIONS[n].definition.__module__ in {f.__name__ for f in FAMILIES})
LINE = torch.linspace(-8, 8, 257, dtype=torch.float64)

TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "erf": torch.erf,
    "arctan": torch.atan,
    "exponential": torch.exp,
}
HUGGING_FACE = {  # and how far our function may be from theirs, beyond rounding
    "gelu": 0,
    "gelu_10": 0,
    "gelu_fast": 1e-10,  # √(2/π) to ten digits
    "gelu_new": 0,
    "gelu_python": 0,
    "gelu_pytorch_tanh": 0,
    "gelu_python_tanh": 0,
    "gelu_accurate": 0,
    "hardswish": 0,
    "laplace": 0,
    "mish": 0,
    "quick_gelu": 0,
    "sigmoid": 0,
    "silu": 0,
    "sqrtsoftplus": 0,
    "swish": 0,
    "tanh": 0,
}


def _slope(function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@pytest.mark.parametrize("name", TORCH)
def test_same_as_torch(name):
    act, away = activation(name), LINE[~torch.isin(LINE, torch.tensor([-3.0, 0.0, 3.0]))]
    assert torch.allclose(act(LINE), TORCH[name](LINE), rtol=1e-12, atol=1e-14)
    assert torch.allclose(
        act.derivative(away), _slope(TORCH[name], away), rtol=1e-7, atol=1e-12
    )  # torch has 1/6 to float32
    assert torch.allclose(act(LINE.float()), TORCH[name](LINE.float()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_same_as_hugging_face(name):
    theirs = pytest.importorskip("transformers.activations").ACT2FN[name]
    assert torch.allclose(activation(name)(LINE), theirs(LINE), rtol=1e-12, atol=1e-14 + HUGGING_FACE[name])


def test_xielu_is_that_of_hugging_face():
    theirs = pytest.importorskip("transformers.activations").XIELUActivation(dtype=torch.float64)
    # theirs takes e^−0.000001 in the place of e^x between there and 0
    assert torch.allclose(activation("xielu")(LINE), theirs(LINE), rtol=0, atol=1e-6)


def swish_of(beta):
    return activation("swish", beta=beta)


SAME = [
    (activation("celu", alpha=1.0), activation("elu")),
    (activation("beta_mish", beta=1.0), activation("mish")),
    (activation("mila", beta=0.0), activation("mish")),
    (activation("aria2", alpha=1.0, beta=1.5), swish_of(1.5)),
    (activation("acon_c", p1=1.0, p2=0.0, beta=1.5), swish_of(1.5)),
    (activation("acon_c", p1=0.0, p2=0.0), lambda x: 0 * x),
    (activation("quick_gelu"), swish_of(1.702)),
    (activation("e_swish", beta=1.0), swish_of(1.0)),
    (activation("weighted_tanh"), activation("tanh")),
    (activation("soft_exponential", alpha=1.0), activation("exp")),
    (activation("soft_exponential", alpha=0.0), activation("identity")),
    (activation("soft_exponential", alpha=-1.0), lambda x: torch.log(x)),
    (activation("soft_exponential", alpha=-1.0), lambda x: activation("soft_exponential", alpha=torch.tensor(-1.0))(x)),
    (
        activation("soft_exponential", alpha=0.3),
        lambda x: activation("soft_exponential", alpha=torch.tensor(0.3, dtype=torch.float64))(x),
    ),
    (activation("soft_exponential", alpha=0.0), lambda x: activation("soft_exponential", alpha=torch.tensor(0.0))(x)),
    (activation("logsigmoid"), lambda x: -activation("softplus")(-x)),
    (activation("softplus", beta=-1.0), activation("logsigmoid")),
    (activation("softplus", beta=3.0).derivative, lambda x: torch.sigmoid(3 * x)),
    (activation("sparse_plus").derivative, activation("sparse_sigmoid")),
    (activation("logsigmoid").derivative, lambda x: torch.sigmoid(-x)),
    (activation("erf"), lambda x: activation("laplace", mu=0.0, sigma=math.sqrt(0.5))(x) * 2 - 1),
    (activation("gelu"), lambda x: x * activation("laplace", mu=0.0, sigma=1.0)(x)),
    (activation("isru"), lambda x: activation("squareplus", b=1.0).derivative(x) * 2 - 1),
    (activation("gelu_10"), activation("gelu")),
    (activation("softclamp_silu", limit=1e9), activation("silu")),
    (activation("softclamp_gelu", limit=1e9), activation("gelu")),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=[getattr(a, "label", str(i)) for i, (a, _) in enumerate(SAME)])
def test_the_same_function_by_two_ways(one, other):
    x = LINE[LINE > 0] if getattr(one, "label", "") == "soft_exponential(alpha=-1)" else LINE
    assert torch.allclose(one(x), other(x), rtol=1e-12, atol=1e-13)


def test_limits_of_parameters():
    assert torch.allclose(activation("soft_clipping", alpha=400.0)(LINE), LINE.clamp(0, 1), atol=2e-3)
    assert torch.allclose(activation("acon_c", p1=0.7, p2=-0.2, beta=1e6)(LINE), torch.maximum(0.7 * LINE, -0.2 * LINE))
    assert torch.allclose(activation("softplus", beta=1e6)(LINE), torch.relu(LINE), atol=1e-6)
    assert torch.allclose(activation("squareplus", b=1e-14)(LINE), torch.relu(LINE), atol=1e-7)
    assert activation("soft_exponential", alpha=-1.0)(torch.tensor(-0.5)).isnan()


# name: (f(−∞), f(∞), f′(−∞), f′(∞))
ENDS = {
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "lecun_tanh": (-1.7159, 1.7159, 0, 0),
    "arctan": (-math.pi / 2, math.pi / 2, 0, 0),
    "erf": (-1, 1, 0, 0),
    "soft_clipping": (0, 1, 0, 0),
    "laplace": (0, 1, 0, 0),
    "softsign": (-1, 1, 0, 0),
    "isru": (-1, 1, 0, 0),
    "isrlu": (-1, INF, 0, 1),
    "sqnl": (-1, 1, 0, 0),
    "bent_identity": (-INF, INF, 0.5, 1.5),
    "softplus": (0, INF, 0, 1),
    "logsigmoid": (-INF, 0, 1, 0),
    "sqrtsoftplus": (0, INF, 0, 0),
    "squareplus": (0, INF, 0, 1),
    "sparse_plus": (0, INF, 0, 1),
    "sparse_sigmoid": (0, 1, 0, 0),
    "hardsigmoid": (0, 1, 0, 0),
    "hardsigmoid_onnx": (0, 1, 0, 0),
    "hardswish": (0, INF, 0, 1),
    "hard_mish": (0, INF, 0, 1),
    "elu": (-1, INF, 0, 1),
    "selu": (-1.0507009873554805 * 1.6732632423543773, INF, 0, 1.0507009873554805),
    "celu": (-1, INF, 0, 1),
    "exponential": (0, INF, 0, INF),
    "soft_exponential": (-1.5, INF, 0, INF),
    "swish": (0, INF, 0, 1),
    "e_swish": (0, INF, 0, 1.375),
    "fts": (-0.2, INF, 0, 1),
    "acon_c": (0, INF, 0, 1),
    "aria2": (0, INF, 0, 1),
    "softclamp_silu": (0, 4, 0, 0),
    "softclamp_gelu": (0, 4, 0, 0),
    "gelu": (0, INF, 0, 1),
    "gelu_tanh": (0, INF, 0, 1),
    "quick_gelu": (0, INF, 0, 1),
    "gelu_10": (0, 10, 0, 0),
    "elish": (0, INF, 0, 1),
    "hard_elish": (0, INF, 0, 1),
    "xielu": (INF, INF, -0.3, INF),
    "mish": (0, INF, 0, 1),
    "beta_mish": (0, INF, 0, 1),
    "mila": (0, INF, 0, 1),
    "serf": (0, INF, 0, 1),
    "telu": (0, INF, 0, 1),
    "logish": (0, INF, 0, math.log(2)),
    "smish": (0, INF, 0, 0.6),
    "gish": (0, INF, 0, math.log(2)),
}


def test_every_one_has_its_ends():
    assert set(SMOOTH) == set(ENDS) - {"lecun_tanh"} | {"weighted_tanh"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ENDS)
def test_ends(name, dtype):
    act, ends = activation(name), torch.tensor([-INF, INF], dtype=dtype)
    got = [*act(ends).tolist(), *act.derivative(ends).tolist()]
    assert got == pytest.approx(ENDS[name], rel=2 * torch.finfo(dtype).eps, abs=0)
    bend = {"exponential": INF, "soft_exponential": INF, "xielu": 1.6}.get(name, 0)
    assert act.second_derivative(ends).tolist() == pytest.approx([0, bend])


def test_ends_with_other_parameters():
    assert activation("xielu", alpha_n=0.5, beta=0.5)(-INF) == -0.5
    assert activation("acon_c", p1=0.5, p2=-0.25)(-INF) == INF
    assert activation("swish", beta=-1.0)(torch.tensor([-INF, INF])).tolist() == [-INF, 0]
    assert activation("softplus", beta=-1.0)(torch.tensor([-INF, INF])).tolist() == [-INF, 0]
    assert activation("softplus", beta=2.0)(1.7e308) == 1.7e308, "2x overflows, the function does not"


@pytest.mark.parametrize(
    ("name", "at", "dip"),
    [
        ("swish", -1.2785, -0.2785),
        ("gelu", -0.7518, -0.1700),
        ("quick_gelu", -0.7512, -0.1636),
        ("mish", -1.1924, -0.3088),
        ("beta_mish", -1.2441, -0.4511),
        ("mila", -1.1506, -0.2495),
        ("serf", -1.1931, -0.3484),
        ("telu", -1.0789, -0.3533),
        ("logish", -1.3725, -0.2528),
        ("smish", -1.3945, -0.2500),
        ("gish", -1.2820, -0.2782),
        ("elish", -0.8814, -0.1716),
        ("aria2", -0.4649, -0.0700),
        ("e_swish", -1.2785, -0.2785 * 1.375),
        ("hardswish", -1.5, -0.375),
        ("hard_mish", -1.0, -0.5),
    ],
)
def test_dips_are_where_the_page_says(name, at, dip):
    act, x = activation(name), torch.linspace(-4, 0, 40001, dtype=torch.float64)
    values = act(x)
    assert values.min().item() == pytest.approx(dip, abs=6e-5)
    assert x[values.argmin()].item() == pytest.approx(at, abs=2e-4)
    assert act.derivative(x[values.argmin()]).item() == pytest.approx(0, abs=1e-4)


def test_approximations_of_gelu_are_as_far_off_as_they_say():
    x = torch.linspace(-8, 8, 160001, dtype=torch.float64)
    true = activation("gelu")(x)
    for name, off in (("gelu_tanh", 4.7e-4), ("quick_gelu", 0.0203)):
        assert (activation(name)(x) - true).abs().max().item() == pytest.approx(off, rel=1e-2)
    assert activation("laplace")(math.sqrt(0.5)) == pytest.approx(0.5, rel=1e-5)
    assert activation("laplace").derivative(math.sqrt(0.5)) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert activation("lecun_tanh")(1.0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("softplus", {"beta": 0.0}),
        ("celu", {"alpha": 0.0}),
        ("celu", {"alpha": -1.0}),
        ("squareplus", {"b": 0.0}),
        ("isru", {"alpha": -1.0}),
        ("isrlu", {"alpha": 0.0}),
        ("soft_clipping", {"alpha": 0.0}),
        ("laplace", {"sigma": 0.0}),
        ("aria2", {"alpha": 0.0}),
        ("beta_mish", {"beta": -1.0}),
        ("softclamp_silu", {"limit": 0.0}),
        ("softclamp_gelu", {"limit": -4.0}),
    ],
    ids=str,
)
def test_parameters_that_make_no_function(name, parameters):
    (parameter,) = parameters
    with pytest.raises(InputError, match=f"{parameter}="):
        activation(name, **parameters)


TRAINABLE = [n for n in SMOOTH if dataclasses.fields(activation(n))]


@pytest.mark.parametrize("name", TRAINABLE)
def test_parameters_get_their_gradient(name):
    act, x = activation(name), torch.tensor([-30.0, -2.3, -0.4, 0.3, 1.9, 25.0], dtype=torch.float64)

    def function(*values: Tensor) -> Tensor:
        return dataclasses.replace(act, **dict(zip(act.parameters, values, strict=True)))(x)

    # away from parameters at which a branch of the formula changes
    values = [torch.tensor(v + 0.01, dtype=torch.float64, requires_grad=True) for v in act.parameters.values()]
    with torch.no_grad():
        as_numbers = dataclasses.replace(act, **{n: v.item() for n, v in zip(act.parameters, values, strict=True)})
        assert torch.allclose(function(*values), as_numbers(x), rtol=1e-12, atol=1e-14)
    # 25² of xIELU and e^12 of the soft exponential dwarf the differences that gradcheck takes
    assert torch.autograd.gradcheck(function, values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5])
def test_soft_exponential_trains_through_zero(alpha):
    layer = activation("soft_exponential", alpha=alpha).layer(trainable=True)
    x = torch.tensor([0.0, 0.5, 2.0, -0.1], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
    # the derivative by α where α is 0, as a limit from either side
    expected = (1 + x.detach().square() / 2).sum().item() if alpha == 0 else layer.alpha.grad.item()
    assert layer.alpha.grad.item() == pytest.approx(expected, rel=1e-6)
    assert layer.alpha.grad.item() > 0


@pytest.mark.parametrize("name", SMOOTH)
def test_names_that_users_type(name):
    act = activation(name)
    for spelled in (name.upper(), name.replace("_", "-"), name.replace("_", ""), *act.aliases):
        assert activation(spelled) == act
    for preset, parameters in act.presets.items():
        assert activation(preset) == activation(name, **parameters)
