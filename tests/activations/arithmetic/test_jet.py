"""Jets against torch's autograd where that is right, against mpmath in the tails, and at kinks from the left."""

from __future__ import annotations

import mpmath
import pytest
import torch
import torch.nn.functional as F
from mpmath import mp, mpf

from undertow.activations.arithmetic import SQRT_HALF, Jet, OutsideVocabulary, Twofold, jet

FUNCTIONS = {
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: x * torch.erfc(-x * SQRT_HALF) / 2,
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "elu": lambda x: torch.where(x > 0, x, 1.3 * torch.expm1(x.clamp(max=0.0))),
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "relu2": lambda x: torch.relu(x) ** 2,
    "cubic": lambda x: 2 - 0.5 * x**3 - x.square(),
    "lowest and highest": lambda x: torch.maximum(x, 0.1 * x) - torch.minimum(torch.sin(x), torch.zeros_like(x)),
    "quotient": lambda x: 1 - torch.sign(x) * torch.asinh(abs(x)) / torch.sqrt(1 + x**2),
    "reciprocals": lambda x: 1 / (1 + x * x) + torch.rsqrt(2 + x.square()) - (x.exp() + 1).reciprocal(),
    "logarithms": lambda x: torch.log1p(x.exp()) * torch.log(2 + x.cos()) - F.logsigmoid(-x),
    "hyperbolic": lambda x: torch.sinh(x) / torch.cosh(x) + torch.atan(x) * torch.erf(x),
    "scaled softplus": lambda x: F.softplus(x, beta=2.0),
    "clone": lambda x: x.clone(),
    "a constant": lambda x: torch.full_like(x, 2.0),
}
X = torch.linspace(-5, 5, 41, dtype=torch.float64) + 0.01


def _torch_derivatives(function):
    x = X.clone().requires_grad_()
    rungs = [function(x)]
    for _ in range(3):
        y = rungs[-1]
        rungs.append(torch.autograd.grad(y.sum(), x, create_graph=True)[0] if y.requires_grad else torch.zeros_like(x))
    return rungs


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_autograds(name):
    function = FUNCTIONS[name]
    rungs = _torch_derivatives(function)
    x = X.clone().requires_grad_()
    for order in (0, 1, 2):
        torch.testing.assert_close(jet(function, x, order), rungs[order], rtol=1e-12, atol=1e-13)
    second = jet(function, x, 2)
    if second.requires_grad:
        third = torch.autograd.grad(second.sum(), x)[0]
        torch.testing.assert_close(third, rungs[3], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_and_compile_give_the_same(name):
    def derivative(x):
        return jet(FUNCTIONS[name], x, 2)

    expected = derivative(X)
    assert torch.equal(torch.func.vmap(derivative)(X), expected)
    torch._dynamo.reset()
    compiled = torch.compile(derivative, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), expected, rtol=1e-14, atol=1e-15)
    assert derivative(X.float()).dtype == torch.float32


TAILS = {
    "tanh": (torch.tanh, mpmath.tanh, (-300.0, -19.5, 9.5, 340.0)),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), (-700.0, 36.0, 40.0, 690.0)),
    "erfc": (torch.erfc, mpmath.erfc, (-25.0, -6.0, 6.5, 26.0)),
    "erf": (torch.erf, mpmath.erf, (-25.0, -6.0, 6.5, 26.0)),
    "softplus": (F.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), (-700.0, -40.0, 21.0, 600.0)),
    "logsigmoid": (F.logsigmoid, lambda x: -mpmath.log1p(mpmath.exp(-x)), (-600.0, -40.0, 21.0, 600.0)),
    "atan": (torch.atan, mpmath.atan, (-1e90, -1e8, 1e8, 1e90)),
    "asinh": (torch.asinh, mpmath.asinh, (-1e90, -1e8, 1e8, 1e90)),
}


@pytest.mark.parametrize("name", TAILS)
def test_tails_hold_to_float32(name):
    function, true, points = TAILS[name]
    x = torch.tensor(points, dtype=torch.float64)
    with mp.workdps(700):
        for order in (1, 2):
            expected = [float(mpmath.diff(true, mpf(v), order, h=mpf(2) ** -900)) for v in points]
            torch.testing.assert_close(jet(function, x, order), x.new_tensor(expected), rtol=1e-12, atol=1e-300)


LEFT = {
    "relu": (torch.relu, 0.0, 0.0),
    "abs": (torch.abs, 0.0, -1.0),
    "clamp": (lambda x: x.clamp(-1, 2), -1.0, 0.0),
    "clamp above": (lambda x: x.clamp(-1, 2), 2.0, 1.0),
    "clamp_min": (lambda x: x.clamp_min(1.0), 1.0, 0.0),
    "clamp_max": (lambda x: x.clamp_max(1.0), 1.0, 1.0),
    "maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), 0.0, 0.0),
    "minimum": (lambda x: torch.minimum(torch.zeros_like(x), x), 0.0, 1.0),
    "where": (lambda x: torch.where(x > 0, 3.0 * x, 0.25 * x), 0.0, 0.25),
    "where of numbers": (lambda x: x * torch.where(x > 0, torch.ones_like(x), 0.1), 0.0, 0.1),
}


@pytest.mark.parametrize("name", LEFT)
def test_kinks_take_the_derivative_from_the_left(name):
    function, at, expected = LEFT[name]
    x = torch.tensor([at], dtype=torch.float64)
    assert jet(function, x, 1).item() == expected
    assert jet(function, x, 2).item() == 0.0


def test_infinities_and_nan():
    x = torch.tensor([-torch.inf, torch.inf, torch.nan])
    expected = {torch.tanh: [0, 0], torch.sigmoid: [0, 0], torch.atan: [0, 0], torch.asinh: [0, 0], torch.erf: [0, 0]}
    expected |= {F.softplus: [0, 1], torch.relu: [0, 1], torch.exp: [0, torch.inf], torch.expm1: [0, torch.inf]}
    for function, (left, right) in expected.items():
        for order in (1, 2):
            y = jet(function, x, order)
            assert y[2].isnan()
            if order == 1 or function not in (torch.exp, torch.expm1):
                assert y[:2].tolist() == ([left, right] if order == 1 else [0, 0]), function


def test_parameters_are_constants_that_autograd_sees():
    slope = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    jet(lambda t: torch.where(t > 0, t, slope * t), x, 1).sum().backward()
    assert slope.grad is not None
    assert slope.grad.item() == 1.0


@pytest.mark.parametrize(
    "function", [lambda x: x.cumsum(0), torch.lgamma, lambda x: x.softmax(-1), lambda x: 2**x, lambda x: x.tolist()]
)
def test_other_operations_are_outside(function):
    with pytest.raises(OutsideVocabulary):
        function(Jet(X, 1.0, None))


def test_a_jet_answers_for_what_it_holds():
    one = Twofold(torch.ones_like(X))
    u = Jet(Twofold(X), 1.0, 0.0)
    for y in (one * u, u * one, torch.maximum(one, u), one / u, one - u, torch.where(X > 0, one, u)):
        assert isinstance(y, Jet)
