"""A user's own function, with derivatives by autograd."""

import math
import pickle

import pytest
import torch
import torch.nn.functional as F

import undertow as ut
from undertow.activations import ACTIVATIONS, Custom, activation, define, names, traits
from undertow.foundation import InputError, Reference, UnknownNameError

# forward-mode differentiation compiles torch's own decompositions with torch.jit, which torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


@pytest.fixture
def mine():
    """A name that is free, and is again after the test."""
    yield "mine of test_custom"
    if "mine of test_custom" in ACTIVATIONS:
        ACTIVATIONS.remove("mine of test_custom")


def test_derivatives_by_autograd():
    act, x = Custom("gelu", F.gelu), torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(F.gelu(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(act(x), F.gelu(x))
    assert torch.allclose(act.derivative(x), first)
    assert torch.allclose(act.second_derivative(x), second)
    assert torch.autograd.gradgradcheck(act, x)
    assert torch.autograd.gradcheck(act.derivative, x)
    assert type(act.derivative(0.5)) is float


def test_a_parameter_inside_the_function_is_trained():
    scale = torch.nn.Parameter(torch.tensor(2.0))
    act = Custom("scaled", lambda x: scale * torch.sin(x))
    for x in (torch.ones(3), torch.ones(3, requires_grad=True)):
        scale.grad = None
        act(x).sum().backward()
        assert scale.grad.item() == pytest.approx(3 * math.sin(1), rel=1e-6)
    act.derivative(x).sum().backward()
    assert scale.grad.item() == pytest.approx(3 * math.sin(1) + 3 * math.cos(1), rel=1e-6)


def test_constant_function_has_derivative_zero():
    assert Custom("one", torch.ones_like).derivative(3.0) == 0


def test_names_equality_and_pickling():
    act = Custom("twice_tanh", torch.tanh, kinks=(1.0,))
    assert act == Custom("twice_tanh", torch.tanh, kinks=(1.0,)) != Custom("twice_tanh", torch.tanh)
    assert pickle.loads(pickle.dumps(act)) == act
    assert (act.name, act.label, act.formula) == ("twice_tanh", "twice_tanh", r"\mathrm{twice\_tanh}(x)")
    assert traits(act).range == (-1.0, 1.0)


def test_errors():
    with pytest.raises(InputError, match="a callable"):
        Custom("three", 3)
    with pytest.raises(InputError, match="a result of bool"):
        Custom("step", lambda x: x > 0)(torch.ones(3))
    with pytest.raises(InputError, match=r"a result of shape \(\) from 'sum' for an input of shape \(\d,\)"):
        Custom("sum", torch.sum)(torch.ones(3))


def test_derivatives_are_as_exact_as_the_catalogues():
    act, x = Custom("silu of mine", lambda x: x * torch.sigmoid(x)), torch.tensor([-80.0, -1.0, 0.5, 30.0])
    for got, exact in zip(
        (act(x), act.derivative(x), act.second_derivative(x)),
        (activation("silu")(x), activation("silu").derivative(x), activation("silu").second_derivative(x)),
        strict=True,
    ):
        torch.testing.assert_close(got, exact, rtol=3e-7, atol=0)


def test_a_function_outside_the_vocabulary_is_torchs():
    def lookup(x):
        return torch.special.bessel_j0(x) if x.numel() else x

    def first(x):  # asks for what only a tensor has
        return torch.sin(x.contiguous().view(-1)).view(x.shape)

    assert Custom("bessel", lookup)(0.0) == 1
    assert Custom("first", first).derivative(0.5) == pytest.approx(math.cos(0.5), rel=1e-15)
    assert Custom("first", first).second_derivative(0.5) == pytest.approx(-math.sin(0.5), rel=1e-15)


def test_defined_it_is_an_activation_as_any_other(mine):
    paper = Reference("Me", 2026, "My function")
    act = define(mine, lambda x: x / (1 + x.abs()), formula=r"\frac{x}{1 + |x|}", reference=paper)
    assert activation(mine.upper()) == act == activation(act)
    assert mine in names()
    assert activation(mine).layer()(torch.tensor([3.0])).item() == 0.75
    assert (activation(mine).formula, activation(mine).reference) == (r"\frac{x}{1 + |x|}", paper)
    assert traits(act).odd
    assert traits(act).range == (-1, 1)
    assert ut.gain(mine) == pytest.approx(ut.gain("softsign"), rel=1e-9)
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation(mine), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(activation(mine), x)
    half = torch.randn(100).bfloat16()
    assert torch.equal(act(half), activation("softsign")(half))
    with pytest.raises(InputError, match="no parameters"):
        activation(mine, beta=2.0)


def test_defined_again_it_replaces_the_own_one_only(mine):
    define(mine, torch.sin)
    define(mine, torch.cos)
    assert activation(mine)(0.0) == 1
    assert names().count(mine) == 1
    for built_in in ("gelu", "SiLU", "hard swish"):
        with pytest.raises(InputError, match="expected a new name"):
            define(built_in, torch.sin)
    assert activation("gelu")(0.0) == 0
    ACTIVATIONS.remove(mine)
    with pytest.raises(UnknownNameError):
        activation(mine)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "a callable"),
        (lambda x: 3.0, "got float from"),
        (torch.sum, r"a result of shape \(\)"),
        (lambda x: x > 0, "a result of bool"),
        (lambda x: x.round().long(), "a result of int64"),
        (lambda x: x + 1j, "a result of complex128"),
        (lambda x: torch.softmax(x, 0), "changes with the others"),
        (lambda x: x - x.mean(), "changes with the others"),
        (lambda x: F.dropout(x), "from call to call"),
    ],
)
def test_what_is_no_activation_is_refused(mine, function, message):
    with pytest.raises(InputError, match=message):
        define(mine, function)
    assert mine not in ACTIVATIONS


def test_inputs_are_checked_as_everywhere(mine):
    act = define(mine, torch.sin)
    for wrong in (torch.arange(3), torch.ones(2, dtype=torch.complex64), "x"):
        with pytest.raises(InputError):
            act(wrong)
