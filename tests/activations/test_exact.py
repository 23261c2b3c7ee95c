"""Every definition, f, f′ and f″ in every dtype: how far from the truth, over the whole range, and at the ends."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from measure import in_ulps, patterns, reference
from truth import truths, ulps

from undertow.activations import Pointwise, activation, names

DEFINITIONS = [name for name in names() if isinstance(activation(name), Pointwise)]
ORDERS = {0: "f", 1: "f′", 2: "f″"}

POINTS = [0.0, -0.0, 1e-45, -1e-40, 2e-38, -1e-20, 3e-9, -2e-4, 0.01, -0.05, 0.3, -0.35, 0.7, -0.75, 1.0, -1.1, -1.2]
POINTS += [1.5, -2.2, 3.0, -3.0, 4.1, -5.6, 8.9, -9.3, 16.7, -19.0, 39.0, -60.0, 87.0, -88.5, 103.0, -150.0]
POINTS += [1e4, -1e4, 3e15, -1e19, 3e38, -3e38]
FLOAT64_POINTS = [5e-324, -1e-310, 1e-160, -700.0, -708.0, -716.0, 712.0, -1.7e308, 1.7e308]


def _derivative(act, order, x):
    return (act, act.derivative, act.second_derivative)[order](x)


def _allowed(got, true, dtype, scale):
    return ulps(got, true, dtype) <= 2 or (scale and ulps(got, true, dtype, scale) <= 1)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_against_mpmath(name):
    act = activation(name)
    shared = torch.tensor(POINTS, dtype=torch.float32).tolist()
    true = {x: truths(act, x) for x in {*shared, *FLOAT64_POINTS}}
    for dtype, points in ((torch.float32, shared), (torch.float64, shared + FLOAT64_POINTS)):
        x = torch.tensor(points, dtype=dtype)
        for order in ORDERS:
            scales = reference(act, order, x.double()).scale.tolist()
            for at, got, scale in zip(points, _derivative(act, order, x).tolist(), scales, strict=True):
                t = true[at][order]
                assert _allowed(got, t, dtype, scale), (ORDERS[order], dtype, at, got, t)


def _check_bit_patterns(name, dtype, stride, limit, strict):
    act = activation(name)
    x = patterns(dtype, stride)
    for order in ORDERS:
        true = reference(act, order, x.double())
        error = in_ulps(_derivative(act, order, x), true, strict)
        worst = int(error.argmax())
        assert error[worst] <= limit, (ORDERS[order], x[worst].item(), error[worst].item(), true.hi[worst].item())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_float32_over_its_range(name):
    _check_bit_patterns(name, torch.float32, 2_000_003, 2.0, strict=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFINITIONS)
def test_float32_over_its_range_densely(name):
    _check_bit_patterns(name, torch.float32, 10_007, 2.0, strict=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_sixteen_bits(name, dtype):
    _check_bit_patterns(name, dtype, 23, 0.51, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_sixteen_bits_all(name, dtype):
    _check_bit_patterns(name, dtype, 1, 0.51, strict=True)


FURTHER = [1e20, 1e60, 1e120, 1e250, 1.7e308]


def _limit(function, side):
    """What far values tell of the limit: a number, ±∞, or None where they tell nothing."""
    y = function(side * torch.tensor(FURTHER, dtype=torch.float64)).tolist()
    size = [abs(v) for v in y]
    if math.inf in size:
        return y[-1]
    if all(b <= a / 10 for a, b in pairwise(size)):
        return 0.0
    if max(y) - min(y) <= 1e-12 * size[-1]:
        return y[-1]
    if all(b > 1.1 * a for a, b in pairwise(size)) and len({v > 0 for v in y}) == 1:
        return math.copysign(math.inf, y[-1])
    return None


@pytest.mark.parametrize("name", DEFINITIONS)
def test_ends(name):
    act = activation(name)
    for order in ORDERS:
        limits = [_limit(lambda x, order=order: _derivative(act, order, x), side) for side in (-1, 1)]
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            *ends, nan = _derivative(act, order, torch.tensor([-math.inf, math.inf, math.nan], dtype=dtype)).tolist()
            assert math.isnan(nan), (ORDERS[order], dtype)
            for end, limit in zip(ends, limits, strict=True):
                if limit is None:
                    continue
                rounded = torch.tensor(limit, dtype=torch.float64).to(dtype).item()
                assert end == pytest.approx(rounded, rel=torch.finfo(dtype).eps, abs=0), (ORDERS[order], dtype, ends)
