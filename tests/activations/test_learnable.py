"""Functions whose shape is learned: their definitions, their gradients, and how they come to resemble others."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from coupled_checks import saved_bytes
from truth import truths, ulps

from undertow.activations import APL, PELU, Rational, SReLU, Swish, activation, traits
from undertow.foundation import InputError, UnknownNameError

# forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

X = torch.linspace(-7, 7, 1402, dtype=torch.float64)  # no hinge of the tests is among them
A, B = (0.3, -0.2, 0.5, 0.1, 0.02, -0.01), (0.4, -0.3, 0.05, 0.2)


def written_out(act, x):
    """The papers' definitions, one number at a time."""
    match act:
        case PELU(a=a, b=b):
            return a / b * x if x >= 0 else a * math.expm1(x / b)
        case SReLU(low=low, low_slope=left, high=high, high_slope=right):
            return low + left * (x - low) if x <= low else high + right * (x - high) if x >= high else x
        case APL(slopes=slopes, hinges=hinges):
            return max(x, 0) + sum(a * max(0, b - x) for a, b in zip(slopes, hinges, strict=True))
        case Rational(numerator=a, denominator=b):
            below = 1 + abs(sum(c * x**k for k, c in enumerate(b, 1)))
            return sum(c * x**j for j, c in enumerate(a)) / below


EXAMPLES = [
    PELU(),
    PELU(a=0.5, b=2.0),
    SReLU(),
    SReLU(low=-1.3, low_slope=-0.1, high=0.6, high_slope=2.0),
    APL(),
    APL(slopes=(0.2, -0.4, 0.1), hinges=(-1.7, 0.3, 2.2)),
    Rational(),
    Rational(A, B),
    Rational((1.0, 2.0), ()),
]


@pytest.mark.parametrize("act", EXAMPLES, ids=lambda act: act.label)
def test_values_are_the_papers(act):
    expected = torch.tensor([written_out(act, x) for x in X.tolist()], dtype=torch.float64)
    torch.testing.assert_close(act(X), expected, rtol=1e-13, atol=1e-14)
    assert torch.autograd.gradcheck(act, X[::100].clone().requires_grad_(), check_forward_ad=True)
    assert torch.autograd.gradcheck(act.derivative, X[::100].clone().requires_grad_())


@pytest.mark.parametrize("act", EXAMPLES, ids=lambda act: act.label)
def test_the_last_digit(act):
    x = torch.cat([X[::97], torch.tensor([-1e30, -1e4, 1e-20, 1e4, 1e30], dtype=torch.float64)]).float()
    got = torch.stack([act(x), act.derivative(x), act.second_derivative(x)], 1).tolist()
    for at, three in zip(x.tolist(), got, strict=True):
        for order, (value, true) in enumerate(zip(three, truths(act, at), strict=True)):
            assert ulps(value, true, torch.float32, scale=1.0 if order else None) < 2, (at, order)


@pytest.mark.parametrize("act", EXAMPLES, ids=lambda act: act.label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_out_and_nan(act, dtype):
    largest = torch.finfo(dtype).max
    x = torch.tensor([-math.inf, -largest / 16, largest / 16, math.inf, math.nan], dtype=dtype)
    for f in (act, act.derivative, act.second_derivative):
        y = f(x)
        assert y[1:3].isfinite().all()
        assert not y[:4].isnan().any()
        assert y[4].isnan()
    assert torch.equal(act.derivative(x)[[0, 3]], act.derivative(x)[[1, 2]])


@pytest.mark.parametrize("act", EXAMPLES, ids=lambda act: act.label)
def test_at_a_kink_the_derivative_is_from_the_left(act):
    kinks = torch.tensor(act.kinks, dtype=torch.float64)
    torch.testing.assert_close(act.derivative(kinks), act.derivative(kinks - 1e-9), rtol=0, atol=1e-8)


def test_a_denominator_has_its_kinks_where_it_changes_sign():
    assert Rational().kinks == ()
    assert Rational(A, (1.0,)).kinks == (0.0,)
    assert Rational(A, (0.0, 1.0)).kinks == (), "x² touches 0 and changes no sign"
    assert Rational(A, (2.0, 1.0)).kinks == pytest.approx((-2.0, 0.0))
    columns = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    assert Rational(torch.tensor(A), columns).kinks == pytest.approx((-2.0, 0.0))


@pytest.mark.parametrize("name", ["pelu", "srelu", "apl", "rational", "swish", "prelu"])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_are_trained(name, channels):
    start = {"apl": EXAMPLES[5], "rational": EXAMPLES[7]}.get(name) or activation(name)
    layer = start.layer(trainable=True, channels=channels).double()
    parameters = dict(layer.named_parameters())
    assert parameters.keys() == start.parameters.keys()
    for n, p in parameters.items():
        count = (len(getattr(start, n)),) if isinstance(getattr(start, n), tuple) else ()
        assert p.shape == (*count, channels)
    x = torch.randn(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(layer(x), start(x))  # before training
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *parameters.values()))
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), (x, *parameters.values()), atol=1e-4)


def test_each_channel_has_its_own():
    numerator = torch.stack([torch.tensor(A), 2 * torch.tensor(A)], dim=1)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    y = Rational(numerator.double(), B)(x)
    one = Rational(tuple(numerator[:, 0].double().tolist()), B)
    torch.testing.assert_close(y, one(x) * torch.tensor([1.0, 2.0], dtype=torch.float64)[:, None])
    with pytest.raises(InputError, match="each index of dimension 1"):
        Rational(numerator, B)(torch.randn(4, 3))
    assert traits(Rational(numerator.double(), B)).steepest == pytest.approx(2 * traits(one).steepest)


@pytest.mark.parametrize("name", ["swish", "prelu", "pelu", "srelu", "apl", "rational"])
def test_the_input_alone_is_kept(name):
    """4 bytes an element in float32, whatever float64 is computed with."""
    x, layer = torch.randn(64, 32), activation(name).layer(trainable=True)
    parameters = sum(p.nbytes for p in layer.parameters())
    assert saved_bytes(layer, x) == x.nbytes + parameters


@pytest.mark.parametrize("name", ["swish", "apl", "rational"])
def test_training_lowers_the_loss_and_compiles(name):
    layer, x = activation(name).layer(trainable=True), torch.linspace(-3, 3, 200)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (layer(x) - torch.relu(x) - 0.2 * torch.sin(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    torch.compiler.reset()
    loss = torch.compile(lambda x: layer(x).square().mean(), fullgraph=True, backend="aot_eager")(x)
    grads = torch.autograd.grad(loss, list(layer.parameters()))
    plain = torch.autograd.grad(layer(x).square().mean(), list(layer.parameters()))
    torch.testing.assert_close(grads, plain)


@pytest.mark.parametrize(
    ("cls", "name", "error"),
    [
        (PELU, "elu", 1e-14),
        (SReLU, "hardtanh", 1e-14),
        (SReLU, "leaky_relu", 1e-14),
        (SReLU, "tanh", 0.13),
        (APL, "relu", 1e-14),
        (APL, "softshrink", 1e-12),
        (APL, "silu", 0.04),
        (Rational, "silu", 2e-6),
        (Rational, "tanh", 1e-5),
        (Rational, "gelu", 2e-3),
        (Rational, "relu", 0.05),
    ],
)
def test_likeness(cls, name, error):
    act = cls.like(name)
    x = torch.linspace(-3, 3, 5001, dtype=torch.float64)
    measured = (act(x) - activation(name)(x)).abs().max().item()
    assert measured <= error
    assert act.likeness.error <= measured * 1.01 + 1e-15
    assert measured <= act.likeness.error * 1.3 + 1e-15, "between the points of the fit it is no worse"
    assert str(act.likeness).startswith(activation(name).label)
    assert act.layer()(torch.ones(1)).item() == pytest.approx(activation(name)(1.0), abs=error + 1e-6)


def test_a_likeness_on_another_interval():
    assert Rational.like("gelu", -1.0, 1.0).likeness.error < Rational.like("gelu").likeness.error / 10
    act = Rational.like(Swish(beta=1.5))
    assert act.likeness.to == "swish(beta=1.5)"
    for other in (copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert (other, other.likeness) == (act, act.likeness)


def test_the_default_rational_is_silu_in_four_digits():
    fitted, default = Rational.like("silu"), Rational()
    for name in ("numerator", "denominator"):
        np.testing.assert_allclose(getattr(default, name), getattr(fitted, name), rtol=2e-3, atol=2e-6)


def test_errors():
    with pytest.raises(UnknownNameError):
        Rational.like("sigmod")
    with pytest.raises(InputError, match="pointwise"):
        Rational.like("softmax")
    with pytest.raises(InputError, match="low below high"):
        Rational.like("gelu", 3.0, -3.0)
    with pytest.raises(InputError, match="as many slopes as hinges"):
        APL(slopes=(0.1,))
    with pytest.raises(InputError, match="a tuple of finite numbers"):
        Rational(numerator=(math.nan, 1.0))
    with pytest.raises(InputError, match="a tuple of finite numbers"):
        Rational(numerator=0.5)
    with pytest.raises(InputError, match="number up to high"):
        SReLU(low=2.0)
    with pytest.raises(InputError, match="positive"):
        PELU(a=0.0)
