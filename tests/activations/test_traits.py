"""Measured facts against known ones."""

import math

import pytest
import torch
from torch import nn

from undertow.activations import ELU, Custom, LeakyReLU, PReLU, Softmax, Swish, Traits, activation, recognise, traits
from undertow.foundation import InputError

INF = math.inf
KNOWN = {
    "sigmoid": Traits(0.25, 0, 0.25, True, True, True, True, False, False, (0, 1), (0, 1), (0, 0)),
    "tanh": Traits(1, 0, 1, True, True, True, True, True, False, (-1, 1), (-1, 1), (0, 0)),
    "identity": Traits(1, 1, 1, False, False, False, True, True, False, (-INF, INF), (-INF, INF), (1, 1)),
    "relu": Traits(1, 0, 1, True, False, False, True, False, False, (0, INF), (0, INF), (0, 1)),
    "leaky_relu": Traits(1, 0.01, 1, False, False, False, True, False, False, (-INF, INF), (-INF, INF), (0.01, 1)),
    "elu": Traits(1, 0, 1, True, False, False, True, False, False, (-1, INF), (-1, INF), (0, 1)),
    # the zeros of Swish″ at ±2.3993573 and of Swish′ at −1.2784645
    "swish": Traits(
        steepest=1.0998393201,
        lowest=-0.0998393201,
        highest=1.0998393201,
        flat_left=True,
        flat_right=False,
        saturating=False,
        monotone=False,
        odd=False,
        even=False,
        limits=(0.0, INF),
        range=(-0.2784645428, INF),
        end_slopes=(0, 1),
    ),
}


def same(a: Traits, b: Traits) -> bool:
    flat = [
        [v for field in vars(t).values() for v in (field if isinstance(field, tuple) else (field,))] for t in (a, b)
    ]
    return flat[0] == pytest.approx(flat[1], abs=1e-9)


@pytest.mark.parametrize("name", KNOWN)
def test_known(name):
    assert same(traits(activation(name)), KNOWN[name])


@pytest.mark.parametrize("beta", [0.01, 0.3, 30.0])
def test_scale_of_a_parameter_is_found(beta):
    measured = traits(Swish(beta=beta))
    assert measured.steepest == pytest.approx(KNOWN["swish"].steepest, abs=1e-7)
    assert measured.range[0] == pytest.approx(KNOWN["swish"].range[0] / beta, rel=1e-7)


def test_parameters():
    assert traits(ELU(alpha=2.0)).steepest == pytest.approx(2)
    assert traits(LeakyReLU(slope=-0.5)).lowest == -0.5
    assert not traits(LeakyReLU(slope=-0.5)).monotone
    assert traits(LeakyReLU(slope=-1.0)).even


def test_torchs_own():
    hardtanh = Traits(1, 0, 1, True, True, True, True, True, False, (-1, 1), (-1, 1), (0, 0))
    assert same(traits(recognise(nn.Hardtanh())), hardtanh)
    assert traits(recognise(nn.GELU())).highest == pytest.approx(1.1289041452, abs=1e-9)
    softsign = traits(recognise(nn.Softsign()))
    assert softsign.saturating
    assert softsign.lowest == 0
    assert softsign.limits == (-1, 1)


def test_without_a_limit_or_a_bound():
    sine = traits(Custom("sin", torch.sin))
    assert all(map(math.isnan, sine.limits))
    assert sine.range == pytest.approx((-1, 1), abs=1e-9)
    assert not sine.saturating
    square = traits(Custom("square", torch.square))
    assert (square.steepest, square.even, square.limits, square.flat_left) == (INF, True, (INF, INF), False)
    assert math.isnan(traits(Custom("log", torch.log)).limits[0])
    assert math.isnan(sine.end_slopes[1])
    assert (sine.bounded, square.bounded) == (True, False)


def test_measured_once_per_equal_definition():
    assert traits(Swish(beta=1.25)) is traits(Swish(beta=1.25))


def test_per_channel_parameters_are_measured_afresh():
    slope = torch.tensor([0.1, 0.5, -2.0])
    act = PReLU(slope=slope)
    assert (traits(act).steepest, traits(act).lowest) == (2.0, -2.0)
    slope[2] = 0.0
    assert (traits(act).steepest, traits(act).lowest, traits(act).monotone) == (1.0, 0.0, True)


def test_coupling_functions_have_no_traits():
    with pytest.raises(InputError, match="couples several elements"):
        traits(Softmax())
