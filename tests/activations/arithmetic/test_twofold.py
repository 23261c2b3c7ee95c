"""Each operation in 106 bits against mpmath at 60 digits: after rounding at most 0.51 ulp over the whole range."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from mpmath import mp, mpf

from undertow.activations.arithmetic import SQRT_HALF, OutsideVocabulary, Twofold, jet, twofold

SMALLEST_NORMAL = 2.0**-1022


def _spread(low, high, count, seed=0):
    """Evenly in the logarithm, both signs."""
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(count, generator=g, dtype=torch.float64)
    x = torch.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return torch.cat([x, -x])


def _between(low, high, count, seed=1):
    return low + (high - low) * torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EVERYWHERE = torch.cat([_spread(1e-308, 1.7e308, 300), _between(-750, 750, 150), _between(-40, 40, 150, 2)])
POSITIVE = _spread(1e-308, 1.7e308, 400)[:400]
TURNS = torch.cat([_spread(1e-308, 1.7e308, 200), _between(-40, 40, 200), torch.arange(1, 60) * (math.pi / 2)])


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x):
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def _erfc(x):
    return mpmath.erfc(x) if abs(x) < 1e4 else mpf(1 - mpmath.sign(x))


OPERATIONS = {
    "exp": (torch.exp, mpmath.exp, EVERYWHERE),
    "expm1": (torch.expm1, mpmath.expm1, EVERYWHERE),
    "log": (torch.log, mpmath.log, torch.cat([POSITIVE, _between(0.5, 2, 100), 1 + _spread(1e-15, 0.1, 50)])),
    "log1p": (
        torch.log1p,
        mpmath.log1p,
        torch.cat([POSITIVE, -_spread(1e-308, 0.9, 200)[:200], _between(-0.9, 3, 99)]),
    ),
    "sigmoid": (torch.sigmoid, _sigmoid, EVERYWHERE),
    "tanh": (torch.tanh, mpmath.tanh, EVERYWHERE),
    "softplus": (F.softplus, _softplus, EVERYWHERE),
    "scaled softplus": (lambda x: F.softplus(x, beta=2.5), lambda x: _softplus(mpf(2.5) * x) / mpf(2.5), EVERYWHERE),
    "logsigmoid": (F.logsigmoid, lambda x: -_softplus(-x), EVERYWHERE),
    "sinh": (torch.sinh, mpmath.sinh, EVERYWHERE),
    "cosh": (torch.cosh, mpmath.cosh, EVERYWHERE),
    "asinh": (torch.asinh, mpmath.asinh, EVERYWHERE),
    "erf": (torch.erf, mpmath.erf, EVERYWHERE),
    "erfc": (torch.erfc, _erfc, torch.cat([EVERYWHERE, _between(-6, 28, 200)])),
    "sin": (torch.sin, mpmath.sin, TURNS),
    "sin of a product": (lambda x: torch.sin(0.1 * x), lambda x: mpmath.sin(mpf(0.1) * x), TURNS),
    "cos": (torch.cos, mpmath.cos, TURNS),
    "atan": (torch.atan, mpmath.atan, EVERYWHERE),
    "sqrt": (torch.sqrt, mpmath.sqrt, POSITIVE),
    "rsqrt": (torch.rsqrt, lambda x: 1 / mpmath.sqrt(x), POSITIVE),
    "reciprocal": (torch.reciprocal, lambda x: 1 / x, _spread(1e-307, 1e307, 200)),
    "sum and product": (
        lambda x: x * (x + 1) * 0.1 - 3,
        lambda x: x * (x + 1) * mpf(0.1) - 3,
        _spread(1e-150, 1e150, 200),
    ),
    "quotient": (lambda x: x / (1 + abs(x)), lambda x: x / (1 + abs(x)), EVERYWHERE),
    "powers": (lambda x: x**3 - x**-2, lambda x: x**3 - x**-2, _spread(1e-90, 1e90, 200)),
    "extremes": (
        lambda x: torch.maximum(x, 0.1 * x) + torch.minimum(x, x * x).clamp(-3, 2),
        lambda x: max(x, mpf(0.1) * x) + min(max(min(x, x * x), -3), 2),
        EVERYWHERE,
    ),
    "silu": (lambda x: x * torch.sigmoid(x), lambda x: x * _sigmoid(x), EVERYWHERE),
    "gelu": (
        lambda x: x * torch.erfc(-x * SQRT_HALF) / 2,
        lambda x: x * _erfc(-x / mpmath.sqrt(2)) / 2,
        torch.cat([EVERYWHERE, _between(-38, -36, 100)]),
    ),
    "quick gelu": (
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: x * _sigmoid(mpf(1.702) * x),
        torch.cat([_spread(1e-308, 1e308, 100), _between(-400, 400, 100)]),
    ),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), lambda x: x * mpmath.tanh(_softplus(x)), EVERYWHERE),
}


def _worst(got, true, points):
    """The largest error in ulp where the truth is a normal number, and where it isn't, in steps of 2^−1074."""
    normal, below = (0.0, 0.0), (0.0, 0.0)
    for y, x in zip(got.tolist(), points.tolist(), strict=True):
        t = true(mpf(x))
        if abs(t) >= mpf(torch.finfo(torch.float64).max) * (1 + mpf(2) ** -54):
            assert y == math.copysign(math.inf, t), x
            continue
        ulp = mpf(2) ** (max(mpmath.frexp(t)[1] - 1, -1022) - 52) if t else mpf(2) ** -1074
        error = float(abs(y - t) / ulp) if math.isfinite(y) else math.inf
        if abs(t) >= SMALLEST_NORMAL:
            normal = max(normal, (error, x))
        else:
            below = max(below, (error, x))
    return normal, below


@pytest.mark.parametrize("name", OPERATIONS)
def test_rounded_once(name):
    function, true, points = OPERATIONS[name]
    with mp.workdps(400 if "sin" in name else 60):  # a product has to be known to its last turn
        normal, below = _worst(twofold(function, points), true, points)
    assert normal[0] <= 0.51, normal
    assert below[0] <= 1.01, below


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "asinh", "atan", "gelu", "quick gelu", "mish"])
def test_derivatives_rounded_once(name, order):
    function, true, _ = OPERATIONS[name]
    points = torch.cat([_between(-40, 40, 20), _between(-4, 4, 20), _spread(1e-100, 1, 10)])

    def slope(x):
        with mp.workprec(2400):
            h = mpf(2) ** -600
            low, here, high = true(x - h), true(x), true(x + h)
            return (high - low) / (2 * h) if order == 1 else (high - 2 * here + low) / h**2

    normal, below = _worst(twofold(lambda x: jet(function, x, order), points), slope, points)
    assert normal[0] <= 0.51, normal
    assert below[0] <= 1.01, below


ENDS = torch.tensor([-math.inf, math.inf, math.nan, -0.0, 0.0, 5e-324, -5e-324], dtype=torch.float64)
ONE_ARGUMENT = (
    "exp expm1 log sigmoid tanh sinh cosh asinh erf erfc sqrt reciprocal sin cos atan ceil abs neg square sign relu"
)


@pytest.mark.parametrize("name", ONE_ARGUMENT.split())
def test_ends_are_torchs(name):
    function = getattr(torch, name)
    expected, got = function(ENDS), twofold(function, ENDS)
    torch.testing.assert_close(got, expected, rtol=1e-15, atol=0, equal_nan=True)
    numbers = ~expected.isnan()
    assert torch.equal(torch.signbit(got)[numbers], torch.signbit(expected)[numbers])


def test_comparisons_see_the_rest():
    third = Twofold(torch.tensor([1.0], dtype=torch.float64)) / 3
    above = third + 2.0**-80
    assert above.hi == third.hi
    assert (above > third).item()
    assert not (third >= above).item()
    assert (third < above).item()
    assert (third != above).item()
    assert (third == third).item()


def test_shapes_and_strides_are_kept():
    x = torch.randn(3, 5, 2, dtype=torch.float64).transpose(0, 2)
    assert torch.equal(twofold(torch.tanh, x), twofold(torch.tanh, x.contiguous()))
    assert twofold(torch.tanh, x[:0]).shape == (0, 5, 3)
    assert twofold(lambda t: torch.full_like(t, 2.0), x[0]).tolist() == torch.full((5, 3), 2.0).tolist()


def test_other_operations_are_outside():
    with pytest.raises(OutsideVocabulary):
        twofold(torch.lgamma, ENDS)
    with pytest.raises(OutsideVocabulary):
        twofold(lambda x: x**0.5, ENDS)
