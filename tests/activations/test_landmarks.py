"""Notable points against closed forms and against numbers found another way."""

import math

import pytest
import torch
import torch.nn.functional as F
from mpmath import findroot, mp, mpf

from undertow.activations import ACTIVATIONS, Custom, Pointwise, PReLU, Softmax, Swish, activation, landmarks, traits
from undertow.foundation import InputError

INF = math.inf
close = lambda *values: pytest.approx(values, abs=1e-9)  # noqa: E731


def points(turns):
    return [v for t in turns for v in (t.x, t.value)]


def custom(name, function, *kinks):
    return landmarks(Custom(name, function, kinks))


def test_silu():
    found = landmarks(Swish())
    # x σ(x) is lowest where 1 + x (1 − σ(x)) = 0, that is x = −1 − W(1/e)
    dip = float(-1 - mp.lambertw(mp.exp(-1)))
    assert dip == pytest.approx(-1.27846454276)
    assert found.zeros == (0,)
    assert points(found.extrema) == close(dip, 1 + dip)
    assert found.slope_zeros == close(dip)
    assert points(found.slope_extrema) == close(-2.39935728052, -0.09983932013, 2.39935728052, 1.09983932013)
    assert found.inflections == close(-2.39935728052, 2.39935728052)
    assert found.steepest_at == pytest.approx(2.39935728052)
    assert (found.smoothness, found.curvature, found.strict, found.constant) == (INF, None, False, ())
    assert found.asymptotes == ((0, 0), (1, 0))


def test_gelu_and_mish_against_roots_of_their_written_out_derivatives():
    gelu = custom("gelu", lambda x: x * torch.special.erfc(-x / math.sqrt(2)) / 2)
    # φ(x) (2 − x²) = 0
    assert gelu.inflections == close(-math.sqrt(2), math.sqrt(2))
    slope = findroot(lambda x: mp.ncdf(x) + x * mp.npdf(x), -0.75)
    assert points(gelu.extrema) == close(float(slope), float(slope * mp.ncdf(slope)))
    mish = custom("mish", lambda x: x * torch.tanh(F.softplus(x)))
    exact = lambda t: t * mp.tanh(mp.log(1 + mp.exp(t)))  # noqa: E731
    dip = findroot(lambda x: mp.diff(exact, x), mpf("-1.19"))
    assert points(mish.extrema) == close(float(dip), float(exact(dip)))
    assert mish.slope_zeros == close(float(dip))


def test_sigmoidal():
    tanh = landmarks(activation("tanh"))
    assert (tanh.zeros, tanh.inflections, tanh.extrema, tanh.slope_zeros) == ((0,), (0,), (), ())
    assert (tanh.steepest_at, tanh.strict, tanh.asymptotes) == (0, True, ((0, -1), (0, 1)))
    sigmoid = landmarks(activation("sigmoid"))
    assert (sigmoid.zeros, points(sigmoid.slope_extrema)) == ((), [0, 0.25])


def test_pieces():
    relu = landmarks(activation("relu"))
    assert (relu.constant, relu.smoothness, relu.curvature, relu.strict) == (((-INF, 0),), 0, "convex", False)
    assert (relu.zeros, relu.extrema, relu.steepest_at) == ((), (), None)
    hardtanh = custom("hardtanh", lambda x: x.clamp(-1, 1), -1.0, 1.0)
    assert (hardtanh.constant, hardtanh.inflections) == (((-INF, -1), (1, INF)), ())
    assert (hardtanh.zeros, hardtanh.curvature) == ((0,), None)
    elu = landmarks(activation("elu"))
    assert (elu.smoothness, elu.curvature, elu.strict, elu.asymptotes) == (1, "convex", True, ((0, -1), (1, 0)))
    assert landmarks(activation("elu", alpha=2.0)).smoothness == 0
    shrink = custom("shrink", lambda x: x - x.clamp(-0.5, 0.5), -0.5, 0.5)
    assert (shrink.constant, shrink.zeros, shrink.asymptotes) == (((-0.5, 0.5),), (), ((1, 0.5), (1, -0.5)))
    identity = landmarks(activation("identity"))
    assert (identity.curvature, identity.smoothness, identity.strict) == ("linear", INF, True)


def test_an_extreme_of_one_side():
    found = custom("hardswish", lambda x: x * (x + 3).clamp(0, 6) / 6, -3.0, 3.0)
    assert points(found.slope_extrema) == close(-3, -0.5, 3, 1.5)
    assert points(found.extrema) == close(-1.5, -0.375)
    assert found.steepest_at == 3
    hard_mish = custom("hard mish", lambda x: x * (x + 2).clamp(0, 2) / 2, -2.0, 0.0)
    assert hard_mish.slope_extrema[0].value == pytest.approx(-1)
    assert hard_mish.steepest_at is None, "f′ is −1 at −2, and 1 from 0 on"
    assert points(custom("abs", torch.abs, 0.0).extrema) == [0, 0]
    assert custom("abs", torch.abs, 0.0).zeros == (0,)
    assert custom("abs", torch.abs, 0.0).slope_zeros == ()


def test_a_kink_in_the_slope_turns_it():
    softsign = custom("softsign", lambda x: x / (1 + x.abs()), 0.0)
    assert points(softsign.slope_extrema) == [0, 1]
    assert (softsign.smoothness, softsign.strict, softsign.steepest_at) == (1, True, 0)
    assert softsign.asymptotes == (close(0, -1), close(0, 1))


def test_a_jump():
    hardshrink = custom("hardshrink", lambda x: torch.where(x.abs() > 0.5, x, 0 * x), -0.5, 0.5)
    assert (hardshrink.smoothness, hardshrink.zeros, hardshrink.curvature) == (-1, (), None)
    assert hardshrink.constant == ((-0.5, 0.5),)
    fall = custom("fall", lambda x: torch.where(x > 1, x - 2, x), 1.0)
    assert points(fall.extrema) == close(1, 1, 1, -1)
    assert fall.zeros == close(0, 2)
    assert not fall.strict
    step_up = custom("step up", lambda x: torch.where(x > 0, x + 1, x - 1), 0.0)
    assert (step_up.zeros, step_up.strict) == ((), True)


def test_touching_zeros():
    square = custom("square", torch.square)
    assert (square.zeros, square.slope_zeros, square.inflections, square.curvature) == ((0,), (0,), (), "convex")
    assert square.steepest_at in (-INF, INF)
    tanhshrink = custom("tanhshrink", lambda x: x - torch.tanh(x))
    assert (tanhshrink.zeros, tanhshrink.slope_zeros, tanhshrink.inflections) == ((0,), (0,), (0,))
    assert (tanhshrink.extrema, tanhshrink.strict, tanhshrink.asymptotes) == ((), True, ((1, 1), (1, -1)))


def test_oscillation_is_cut_short():
    sine = custom("sin", torch.sin)
    assert sine.endless
    assert sine.zeros == close(*(k * math.pi for k in range(-2, 3)))
    assert [t.x for t in sine.extrema if t.is_maximum and abs(t.x) < 6] == close(-1.5 * math.pi, 0.5 * math.pi)
    assert sine.asymptotes == (None, None)
    assert not custom("cos3", lambda x: x + torch.cos(x / 40) * torch.exp(-x.square())).endless


def test_a_far_and_a_near_scale():
    for beta in (0.02, 50.0):
        found = landmarks(Swish(beta=beta))
        assert found.slope_zeros == pytest.approx([-1.27846454276 / beta])
        assert found.inflections == pytest.approx([-2.39935728052 / beta, 2.39935728052 / beta])


def test_underflow_is_no_stretch_and_a_kink_not_declared_is():
    assert landmarks(Swish(beta=1000.0)).constant == ()
    assert custom("steep", lambda x: torch.exp(-(100 * x).square())).constant == ()
    ((low, high),) = custom("relu", lambda x: x.clamp(min=0)).constant
    assert (low, high) == (-INF, pytest.approx(0, abs=1e-12))
    assert custom("zero", torch.zeros_like).constant == ((-INF, INF),)


def test_log_growth_has_no_asymptote():
    assert custom("asinh", torch.asinh).asymptotes == (None, None)
    bent = custom("bent", lambda x: ((x * x + 1).sqrt() - 1) / 2 + x)
    assert bent.asymptotes == (close(0.5, -0.5), close(1.5, -0.5))
    assert bent.curvature == "convex"


def test_what_has_no_points_of_its_own():
    with pytest.raises(InputError, match="couples several elements"):
        landmarks(Softmax())
    with pytest.raises(InputError, match="3 channels"):
        landmarks(PReLU(slope=torch.tensor([0.1, 0.2, 0.3])))
    assert landmarks(PReLU(slope=torch.tensor([0.0]))).constant == ((-INF, 0),)


def test_every_definition_is_searched_without_contradiction():
    for name, entry in ACTIVATIONS.items():
        act = activation(name)
        if not isinstance(act, Pointwise):
            continue
        found, measured = landmarks(act), traits(act)
        assert not (found.strict and not measured.monotone), name
        assert (found.smoothness == INF) == (not act.kinks), name
        for turn in found.extrema:
            assert measured.range[0] - 1e-9 <= turn.value <= measured.range[1] + 1e-9, name
        for turn in found.slope_extrema:
            assert measured.lowest - 1e-9 <= turn.value <= measured.highest + 1e-9, name
        for x in found.zeros:
            assert abs(act(x)) < 1e-9 * max(1, abs(x)), name
        for x in found.slope_zeros:
            assert abs(act.derivative(x)) < 1e-9, name
        if measured.odd and found.zeros:
            assert 0.0 in found.zeros, name
        if found.curvature in ("convex", "concave"):
            assert not found.inflections, name
        del entry
