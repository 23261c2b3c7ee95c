"""Gains against the reference, torch's table and a layer of real numbers."""

import math

import pytest
import torch
from reference import MOMENTS, function

from undertow.activations import Custom, activation
from undertow.foundation import InputError
from undertow.theory import gain


@pytest.mark.parametrize("row", MOMENTS, ids=lambda row: row["name"])
def test_reference(row):
    for direction, value in row["gains"].items():
        assert gain(function(row["name"]), direction) == pytest.approx(value, rel=1e-13)


def test_where_torchs_table_is_exact_and_where_not():
    assert gain("relu") == pytest.approx(torch.nn.init.calculate_gain("relu"))
    assert gain("leaky_relu") == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.01))
    assert torch.nn.init.calculate_gain("tanh") / gain("tanh") == pytest.approx(1.0465, abs=1e-4)
    assert gain("sigmoid", "backward") / torch.nn.init.calculate_gain("sigmoid") == pytest.approx(4.7226, abs=1e-4)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "identity"])
@pytest.mark.parametrize("q", [0.01, 1.0, 100.0])
def test_homogeneous_functions_have_one_gain(name, q):
    assert gain(name, "forward", q) == pytest.approx(gain(name, "backward", q)) == pytest.approx(gain(name))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "swish"])
@pytest.mark.parametrize("q", [1.0, 4.0])
def test_a_wide_layer_keeps_what_the_gain_says(name, q):
    generator = torch.Generator().manual_seed(0)
    act, n = activation(name), 1500
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    u, g = math.sqrt(q) * draw(100, n), draw(100, n)
    forward = draw(n, n) * gain(name, "forward", q) / math.sqrt(n)
    backward = draw(n, n) * gain(name, "backward", q) / math.sqrt(n)
    assert (act(u) @ forward).square().mean().item() == pytest.approx(q, rel=0.05)
    assert ((g * act.derivative(u)) @ backward).square().mean().item() == pytest.approx(1, rel=0.05)


def test_bad_input():
    with pytest.raises(InputError, match="'sideways'; expected 'forward', 'backward' or 'standardised'"):
        gain("relu", "sideways")
    with pytest.raises(InputError, match="ones, whose mean square at q=1 is 0"):
        gain(Custom("ones", torch.ones_like), "standardised")
    with pytest.raises(InputError, match="zero, whose mean square at q=1 is 0"):
        gain(Custom("zero", torch.zeros_like), "backward")
