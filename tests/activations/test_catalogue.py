"""Every activation of the registry, against its formulas and against what a definition promises."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from oracle import ORACLE, known
from torch.func import grad, jvp, vmap

from undertow.activations import ACTIVATIONS, Pointwise, Swish, activation, names, recognise

# forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

POINTWISE = tuple(n for n in names() if issubclass(ACTIVATIONS[n].definition, Pointwise))
SPECIAL = (0, 1e-30, 1e-8, 0.1, 1, 1.2784645, 2.3993573, 5, 9.1, 16.7, 20, 37, 44, 60, 79.9, 80.1, 88.5, 89, 95, 103)
BEYOND = (150, 355, 500, 700, 708, 740)  # where float64 runs out, as 103 is for float32


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def points(dtype: torch.dtype) -> list[float]:
    random = np.random.default_rng(0).uniform(0, 6, 8)
    positive = torch.tensor([*SPECIAL, *random, *(BEYOND if dtype == torch.float64 else ())]).tolist()
    return sorted({sign * p for p in positive for sign in (-1, 1)})


# relative error, and absolute error near a zero of f′ or f″, where the size of the function counts
ALLOWED = {torch.float32: (2**-22, 2**-23), torch.float64: (2**-51, 2**-52)}


@pytest.mark.parametrize("dtype", ALLOWED, ids=str)
@pytest.mark.parametrize("case", ORACLE, ids=str)
def test_value_and_derivatives_are_those_of_the_textbook(case, dtype):
    act, x = activation(case.name, **case.parameters), torch.tensor(points(dtype), dtype=dtype)
    # below this a result may be flushed to 0; in float64 a factor of it may underflow a little sooner
    largest, tiny = torch.finfo(dtype).max, torch.finfo(dtype).tiny * (1 if dtype == torch.float32 else 2**13)
    truths = [known(case, at) for at in x.tolist()]
    for order, got in enumerate((act(x), act.derivative(x), act.second_derivative(x))):
        assert got.dtype == dtype
        for g, true, at in zip(got.tolist(), truths, x.tolist(), strict=True):
            if abs(true[order]) > largest:
                assert g == math.copysign(math.inf, true[order]), (order, at)
                continue
            relative, absolute = ALLOWED[dtype]
            near_zero = order > 0 and abs(at) < 6
            allowed = relative * abs(true[order]) + absolute * near_zero + (tiny if abs(true[order]) < tiny else 0)
            assert abs(g - true[order]) <= allowed, (order, at, g, float(true[order]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", POINTWISE)
def test_half_precision_is_rounded_once(name, dtype):
    act, x = activation(name), torch.linspace(-20, 20, 401).to(dtype)
    for function in (act, act.derivative, act.second_derivative):
        assert torch.equal(function(x), function(x.float()).to(dtype))
    x.requires_grad_()
    act(x).sum().backward()
    assert torch.equal(x.grad, act.derivative(x.detach()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", POINTWISE)
def test_limits_and_nan(name, dtype):
    act, ends = activation(name), torch.tensor([-math.inf, math.inf, math.nan], dtype=dtype)
    far = torch.tensor([-1.0, 1.0], dtype=dtype) * torch.finfo(dtype).max
    for function in (act, act.derivative, act.second_derivative):
        assert function(ends)[2].isnan()
        for limit, there, before in zip(function(ends)[:2], function(far), function(far.sign() * 30), strict=True):
            if limit.isinf():
                assert limit.sign() == there.sign()
                assert there.abs() > before.abs()
            elif limit.isnan():
                assert (
                    len({round(v, 6) for v in function(far.sign() * torch.arange(50, 60)[:, None])[:, 0].tolist()}) > 3
                )
            else:
                assert there.item() == pytest.approx(limit.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", POINTWISE)
def test_kink_takes_the_derivative_from_the_left(name):
    act = activation(name)
    for kink in act.kinks:
        assert act.derivative(kink) == pytest.approx(act.derivative(kink - 1e-9), abs=1e-8)
        x = torch.tensor(kink, dtype=torch.float64, requires_grad=True)
        act(x).backward()
        assert x.grad.item() == act.derivative(kink)


@pytest.mark.parametrize("name", POINTWISE)
def test_autograd_of_the_value_is_the_derivative(name):
    act = activation(name)
    x = torch.tensor([*points(torch.float32), 0.0], requires_grad=True)
    (first,) = torch.autograd.grad(act(x).sum(), x)
    (second,) = torch.autograd.grad(act.derivative(x).sum(), x)
    # torch's own backward, where it is used, may round once more
    ulp, tiny = (torch.finfo().eps, torch.finfo().tiny) if act.torch_autograd else (0.0, 0.0)
    assert torch.allclose(first, act.derivative(x.detach()), rtol=ulp, atol=tiny)
    assert torch.equal(second, act.second_derivative(x.detach()))


@pytest.mark.parametrize("name", POINTWISE)
def test_gradcheck_to_the_third_order(name):
    act, x = activation(name), torch.tensor([-0.7, 2.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(act, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(act, x)
    assert torch.autograd.gradgradcheck(act.derivative, x)


@pytest.mark.parametrize("name", POINTWISE)
def test_function_transforms(name):
    act, x = activation(name), torch.linspace(-3, 3, 8, dtype=torch.float64)
    # a kernel may stand behind one side and torch's operations behind the other
    assert torch.allclose(vmap(act)(x), act(x), rtol=1e-14, atol=1e-15)
    assert torch.allclose(vmap(grad(act))(x), act.derivative(x), rtol=1e-14, atol=1e-15)
    assert torch.allclose(vmap(grad(grad(act)))(x), act.second_derivative(x), rtol=1e-13, atol=1e-15)
    y, tangent = jvp(act, (x,), (2 * torch.ones_like(x),))
    assert torch.allclose(y, act(x), rtol=1e-14, atol=1e-15)
    assert torch.allclose(tangent, 2 * act.derivative(x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", POINTWISE)
def test_works_without_gradients(name):
    act, x = activation(name), torch.linspace(-3, 3, 7)
    expected = act(x), act.derivative(x), act.second_derivative(x)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            got = act(x), act.derivative(x), act.second_derivative(x)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", POINTWISE)
def test_shapes_empty_and_strided(name):
    act = activation(name)
    assert act(torch.empty(0, 3)).shape == (0, 3)
    x = torch.randn(4, 6)[:, ::2].T
    assert torch.equal(act(x), act(x.contiguous()))
    assert act.derivative(x).shape == x.shape


@pytest.mark.parametrize("name", names())
def test_definition_is_complete(name):
    act = activation(name)
    for formula in (act.formula, act.derivative_formula, act.second_derivative_formula):
        assert "$" not in formula
        assert formula.count("{") == formula.count("}")
    assert 1950 < act.reference.year < 2027
    assert act.reference.authors.split(",")[0] in type(act).__doc__
    assert "=" in type(act).__doc__.splitlines()[0], "the docstring's first line is the formula"
    assert all(dataclasses.is_dataclass(type(activation(n))) for n in (name, *act.aliases, *act.presets))


@pytest.mark.parametrize("name", names())
def test_definitions_are_values(name):
    act = activation(name)
    for other in (activation(name), copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert other == act
        assert hash(other) == hash(act)
        assert other.label == name
    assert recognise(name) == act
    with pytest.raises(dataclasses.FrozenInstanceError):
        act.name = "other"


@pytest.mark.parametrize("name", [n for n in POINTWISE if n != "identity"])
def test_layer_is_recognised(name):
    act, x = activation(name), torch.linspace(-3, 3, 12).reshape(3, 4)
    layer = act.layer()  # whose trained parameters are of float32
    assert torch.allclose(layer(x), act(x), rtol=1e-5)
    assert torch.equal(recognise(layer)(x), layer(x))


def test_silu_is_swish_with_beta_one():
    assert activation("silu") == Swish(beta=1.0) == activation("SiLU") == activation("swish")


# what peers call their activation functions; random ones, hard steps and plain arithmetic left out
NAMES_OF_PEERS = {
    "torch.nn": "ELU Hardshrink Hardsigmoid Hardtanh Hardswish LeakyReLU LogSigmoid PReLU ReLU ReLU6 RReLU SELU CELU "
    "GELU Sigmoid SiLU Mish Softplus Softshrink Softsign Tanh Tanhshrink Threshold GLU Softmin Softmax Softmax2d "
    "LogSoftmax",
    "jax.nn": "relu relu6 sigmoid softplus sparse_plus sparse_sigmoid soft_sign silu swish log_sigmoid leaky_relu "
    "hard_sigmoid hard_silu hard_swish hard_tanh elu celu selu gelu glu squareplus mish identity softmax log_softmax",
    "keras": "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear "
    "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu softmax soft_shrink softplus softsign sparse_plus "
    "sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold",
    "timm": "silu swish mish relu relu6 leaky_relu elu prelu celu selu gelu gelu_tanh quick_gelu sigmoid tanh "
    "hard_sigmoid hard_swish hard_mish identity",
    "transformers": "gelu gelu_10 gelu_fast gelu_new gelu_python gelu_pytorch_tanh gelu_python_tanh gelu_accurate "
    "hardswish laplace leaky_relu linear mish quick_gelu relu relu2 relu6 sigmoid silu sqrtsoftplus swish tanh prelu "
    "xielu",
    "ONNX": "Elu Gelu HardSwish HardSigmoid LeakyRelu LogSoftmax Mish PRelu Relu Selu Celu Sigmoid Softmax Softplus "
    "Softsign Swish Tanh ThresholdedRelu Erf",
    "echoAI": "APL aria2 bent_id beta_mish brelu elish hard_elish fts isrlu isru maxout mila mish silu sine_relu "
    "soft_clipping soft_exponential sqnl srelu swish weighted_tanh e_swish",
    "others": "snake serf telu tanhexp acon_c frelu entmax15 reglu geglu swiglu bilinear pelu rational relu_squared",
}


@pytest.mark.parametrize("peer", NAMES_OF_PEERS)
def test_names_of_peers_are_known(peer):
    assert [name for name in NAMES_OF_PEERS[peer].split() if name not in ACTIVATIONS] == []
