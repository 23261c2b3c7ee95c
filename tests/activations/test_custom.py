"""A user's own function, with derivatives by autograd."""

import pickle

import pytest
import torch
import torch.nn.functional as F

from undertow.activations import Custom, traits
from undertow.foundation import InputError


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
    Custom("scaled", lambda x: scale * torch.sin(x))(torch.ones(3)).sum().backward()
    assert scale.grad.item() == pytest.approx(3 * 0.841471, rel=1e-5)


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
    with pytest.raises(InputError, match=r"a result of shape \(\) from 'sum' for an input of shape \(3,\)"):
        Custom("sum", torch.sum)(torch.ones(3))
