"""f⁻¹ against closed forms, and f(f⁻¹(y)) = y."""

import math

import numpy as np
import pytest
import torch

from undertow.activations import ACTIVATIONS, Custom, LeakyReLU, Pointwise, activation, inverse, landmarks, traits
from undertow.foundation import InputError


@pytest.mark.parametrize(
    ("act", "closed", "y"),
    [
        (
            activation("sigmoid"),
            lambda y: y.log() - (-y).log1p(),
            torch.logspace(-300, -0.01, 301, dtype=torch.float64),
        ),
        (activation("tanh"), torch.atanh, torch.linspace(-0.999, 0.999, 301, dtype=torch.float64)),
        (activation("elu"), lambda y: torch.where(y < 0, y.log1p(), y), torch.linspace(-0.999, 50, 301).double()),
        (activation("leaky_relu"), lambda y: torch.where(y < 0, y / 0.01, y), torch.linspace(-9, 9, 300).double()),
        (LeakyReLU(slope=1e-3), lambda y: torch.where(y < 0, y / 1e-3, y), torch.linspace(-9, 9, 300).double()),
        (Custom("sinh", torch.sinh), torch.asinh, torch.linspace(-1e4, 1e4, 301).double()),
        (Custom("falling", lambda x: -x - x**3), None, torch.linspace(-1e6, 1e6, 301).double()),
    ],
    ids=lambda v: v.label if isinstance(v, Pointwise) else "",
)
def test_closed_forms(act, closed, y):
    x = inverse(act, y)
    if closed is not None:
        # as exact as rounding of f lets it be: an ulp of x, or an ulp of y over the slope
        slack = 4 * torch.finfo(torch.float64).eps * (x.abs() + y.abs() / act.derivative(x).abs())
        assert ((x - closed(y)).abs() <= slack).all()
    assert torch.allclose(act(x), y, rtol=1e-12, atol=0)  # an ulp of x = 690 is 1e-13 of e⁻⁶⁹⁰


def test_outside_the_range_and_at_its_ends():
    found = inverse(activation("tanh"), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, math.nan], dtype=torch.float64))
    assert found.tolist()[1:4] == [-math.inf, 0, math.inf]
    assert found[[0, 4, 5]].isnan().all()
    assert inverse(activation("identity"), math.inf) == math.inf


def test_the_kind_of_y_is_kept():
    elu = activation("elu")
    assert inverse(elu, -0.5) == pytest.approx(math.log(0.5), rel=1e-15)
    assert inverse(elu, np.float32([[0.5], [1.5]])).dtype == np.float32
    assert inverse(elu, torch.tensor([[0.5], [1.5]], dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert inverse(elu, torch.ones(2, 0)).shape == (2, 0)


def test_where_there_is_none_the_error_says_why():
    for name, why in {
        "swish": r"turns at x = −1\.27846",
        "relu": "constant from −∞ to 0",
        "softmax": "couples several elements",
    }.items():
        with pytest.raises(InputError, match=why):
            inverse(activation(name), 0.5)
    with pytest.raises(InputError, match="3 channels"):
        inverse(activation("prelu", slope=torch.tensor([0.1, 0.2, 0.3])), 0.5)


def test_every_strictly_monotone_definition_is_undone():
    x = torch.tensor([-3.0, -0.7, 0.0, 0.4, 2.5], dtype=torch.float64)
    for name, _ in ACTIVATIONS.items():
        act = activation(name)
        if isinstance(act, Pointwise) and landmarks(act).strict:
            assert traits(act).monotone
            steep = act.derivative(x).abs() > 1e-6  # elsewhere f(x) is rounded to its limit
            assert steep.any(), name
            assert torch.allclose(inverse(act, act(x))[steep], x[steep], rtol=1e-9, atol=1e-9), name
