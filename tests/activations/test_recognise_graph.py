"""Activations in traced graphs: any spelling is found, and nothing else."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import symbolic_trace

from undertow.activations import ACTIVATIONS, Pointwise, Swish, activation, names, recognise_graph
from undertow.activations.custom import define
from undertow.foundation import InputError

ROOT = math.sqrt(2 / math.pi)


def timm_swish(x):
    return x.mul_(x.sigmoid())


def timm_hard_mish(x):
    return 0.5 * x * (x + 2).clamp(min=0, max=2)


def mixed_precision(x):
    return (x.float() * torch.sigmoid(x.float())).type_as(x)


SPELLINGS = [
    (lambda x: x * torch.sigmoid(x), "silu"),
    (lambda x: torch.sigmoid(x).mul(x), "silu"),
    (lambda x: x / (1 + torch.exp(-x)), "silu"),
    (timm_swish, "silu"),
    (mixed_precision, "silu"),
    (lambda x: x * torch.sigmoid(1.702 * x), "quick_gelu"),
    (lambda x: x * torch.sigmoid(x * 1.3), activation("swish", beta=1.3)),
    (lambda x: x * torch.sigmoid(x / 4), activation("swish", beta=0.25)),
    (lambda x: x * torch.tanh(F.softplus(x)), "mish"),
    (lambda x: x * torch.tanh(torch.log1p(torch.exp(x))), "mish"),
    (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
    (lambda x: x * torch.erfc(-x * math.sqrt(0.5)) / 2, "gelu"),
    (lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3))), "gelu_tanh"),
    (lambda x: 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))), "gelu_tanh"),
    (lambda x: torch.clip(F.gelu(x), -10, 10), "gelu_10"),
    (lambda x: torch.relu(x) ** 2, "relu_squared"),
    (lambda x: F.relu(x).square(), "relu_squared"),
    (lambda x: x.clamp(min=0), "relu"),
    (lambda x: torch.maximum(x, torch.zeros_like(x)), "relu"),
    (lambda x: x * (x > 0), "relu"),
    (lambda x: (x + x.abs()) / 2, "relu"),
    (lambda x: torch.where(x > 0, x, 0.3 * x), activation("leaky_relu", slope=0.3)),
    (lambda x: torch.max(x, 0.2 * x), activation("leaky_relu", slope=0.2)),
    (lambda x: F.relu(x) - 0.1 * F.relu(-x), activation("leaky_relu", slope=0.1)),
    (lambda x: torch.where(x > 0, x, 0.5 * (torch.exp(x) - 1)), activation("elu", alpha=0.5)),
    (lambda x: x.clamp(0, 6), "relu6"),
    (lambda x: x * F.relu6(x + 3).div_(6), "hardswish"),
    (lambda x: (x + 3).clamp_(0, 6) / 6, "hardsigmoid"),
    (lambda x: x.clamp(-2, 3), activation("hardtanh", low=-2.0, high=3.0)),
    (lambda x: 1 / (1 + torch.exp(-x)), "sigmoid"),
    (lambda x: torch.tanh(x / 2) * 0.5 + 0.5, "sigmoid"),
    (lambda x: 2 * torch.sigmoid(2 * x) - 1, "tanh"),
    (lambda x: torch.log(1 + torch.exp(x)), "softplus"),
    (lambda x: F.softplus(2 * x) / 2, activation("softplus", beta=2.0)),
    (lambda x: -F.softplus(-x), "logsigmoid"),
    (lambda x: x / (1 + x.abs()), "softsign"),
    (lambda x: x - torch.tanh(x), "tanhshrink"),
    (lambda x: torch.sign(x) * F.relu(x.abs() - 0.5), "softshrink"),
    (timm_hard_mish, "hard_mish"),
]


def exported(function):
    class Model(nn.Module):
        def forward(self, x):
            return function(x)

    return torch.export.export(Model(), (torch.randn(2, 3),))


@pytest.mark.parametrize(("function", "expected"), SPELLINGS)
def test_spellings(function, expected):
    act = activation(expected)
    (match,) = recognise_graph(symbolic_trace(function))
    assert match.definition == act
    assert match.same
    assert [n.op for n in match.sources] == ["placeholder"]
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    within = 1e-6 if function is mixed_precision else 1e-12
    assert torch.allclose(act(x), function(x.clone()), rtol=within, atol=within)


@pytest.mark.parametrize(("function", "expected"), SPELLINGS[::4])
def test_spellings_in_exported_programs(function, expected):
    (match,) = recognise_graph(exported(function))
    assert match.definition == activation(expected)
    assert match.same


@pytest.mark.parametrize("name", [n for n in names() if isinstance(activation(n), Pointwise) and n != "identity"])
def test_every_definition_is_found_in_its_own_exported_graph(name):
    """Or one that equals it from the parameters that it starts with: CELU is ELU at α = 1."""
    act, x = activation(name), torch.linspace(-30, 30, 501, dtype=torch.float64)
    (match,) = recognise_graph(torch.export.export(act.layer(trainable=False), (torch.linspace(-3, 3, 7),)))
    assert match.same
    assert match.definition == act or torch.allclose(match.definition(x), act(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: 2 * x + 1,
        lambda x: x + x.mean(),
        lambda x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + 1e-5),
        lambda x: x.max(1),
        lambda x: x[0].view(2, -1),
        lambda x: x.to(torch.int32),
        lambda x: x * 3 - x / 3,
    ],
)
def test_what_is_no_activation(function):
    assert recognise_graph(function) == []


def test_a_constant_with_few_digits_comes_near():
    (match,) = recognise_graph(lambda x: 0.5 * x * (1 + torch.erf(x * 0.70710678)))
    assert match.definition == activation("gelu")
    assert not match.same
    assert 1e-12 < match.difference < 1e-8


def test_another_constant_is_another_function():
    matches = recognise_graph(lambda x: 0.5 * x * (1 + torch.erf(x * 0.7071)))
    assert [m.definition.name for m in matches] == ["erf"]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.beta = nn.Linear(3, 3), nn.GELU(), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        h = self.up(x)
        h = self.act(h * torch.sigmoid(self.beta * h))
        return torch.softmax(F.relu(h, inplace=True) ** 2, -1)


@pytest.mark.parametrize("trace", [symbolic_trace, lambda m: m, lambda m: torch.export.export(m, (torch.ones(2, 3),))])
def test_a_model_in_the_order_of_its_graph(trace):
    matches = recognise_graph(trace(Model()))
    expected = [Swish(beta=1.5), activation("gelu"), activation("relu_squared"), activation("softmax", dim=-1)]
    assert [m.definition for m in matches] == expected
    assert [len(m.nodes) for m in matches] == [3, 1, 2, 1]


def test_places_are_named():
    outer = nn.Sequential(nn.Linear(3, 3), Model())
    matches = recognise_graph(outer)
    assert {m.path for m in matches} == {"1", "1.act"}
    assert all(m.line.startswith("test_recognise_graph.py:") for m in matches)


def test_an_inner_result_that_is_used_elsewhere_counts_too():
    def function(x):
        gate = torch.sigmoid(x)
        return x * gate, gate

    assert [m.definition.name for m in recognise_graph(function)] == ["sigmoid", "swish"]


def test_an_input_by_keyword():
    (match,) = recognise_graph(lambda x: F.relu(input=x, inplace=True) ** 2)
    assert match.definition == activation("relu_squared")


def test_a_change_in_place_between_parts_is_seen():
    def function(x):
        gate = torch.sigmoid(x)
        x.add_(1)
        return x * gate

    assert [m.definition.name for m in recognise_graph(function)] == ["sigmoid"]


GATES = [
    (torch.sigmoid, "glu"),
    (F.relu, "reglu"),
    (lambda b: 0.5 * b * (1 + torch.erf(b / math.sqrt(2))), "geglu"),
    (lambda b: b * torch.sigmoid(b), "swiglu"),
    (lambda b: b, "bilinear"),
]


@pytest.mark.parametrize(("gate", "name"), GATES)
def test_gated_units_of_one_tensor(gate, name):
    def function(x):
        a, b = x.chunk(2, dim=-1)
        return gate(b) * a

    (match,) = recognise_graph(function)
    assert match.definition == activation(name)
    assert [n.op for n in match.sources] == ["placeholder"]
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(3, 8)
    assert torch.allclose(match.definition(x), function(x), rtol=1e-12)


@pytest.mark.parametrize(("gate", "name"), GATES)
def test_gated_units_of_two_layers(gate, name):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.up, self.down = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.down(gate(self.gate(x)) * self.up(x))

    for graph in (symbolic_trace(Gated()), torch.export.export(Gated(), (torch.ones(2, 3),))):
        (match,) = recognise_graph(graph)
        assert match.definition == activation(name)


def test_a_gate_of_two_inputs_and_a_gate_that_comes_first():
    (match,) = recognise_graph(lambda a, b: a * torch.sigmoid(b))
    assert match.definition == activation("glu")
    assert [n.name for n in match.sources] == ["a", "b"]

    def function(x):
        a, b = x.chunk(2, 1)
        return F.silu(a) * b

    (match,) = recognise_graph(function)
    assert match.definition == activation("swiglu")
    assert [n.args[1] for n in match.sources] == [1, 0], "the definition is of the second half beside the first"


def test_a_scale_by_what_was_pooled_is_no_gated_unit():
    def squeeze_and_excite(x):
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

    assert [m.definition.name for m in recognise_graph(squeeze_and_excite)] == ["sigmoid"]


def test_tracing_leaves_a_model_as_it_was():
    class Keeps(nn.Module):
        def forward(self, x):
            self.last = x
            return torch.relu(x)

    model = Keeps()
    before = dict(vars(model))
    assert len(recognise_graph(model)) == 1
    assert vars(model) == before


@pytest.mark.parametrize("thing", [3, None, "relu"])
def test_what_is_no_graph(thing):
    with pytest.raises(InputError, match=r"expected a graph of torch.fx"):
        recognise_graph(thing)


def test_what_cannot_be_traced_says_why():
    with pytest.raises(InputError, match=r"(?s)can't trace.*control flow"):
        recognise_graph(lambda x: x if x.sum() > 0 else -x)


def test_a_users_own_function_is_found_too():
    def written_otherwise(x):
        return torch.sigmoid(x) * (torch.sin(x) * x)

    act = define("mine for a graph", lambda x: x * torch.sin(x) * torch.sigmoid(x))
    try:
        (match,) = recognise_graph(written_otherwise)
        assert match.definition == act
    finally:
        ACTIVATIONS.remove("mine for a graph")
    assert {m.definition.name for m in recognise_graph(written_otherwise)} == {"sin", "sigmoid"}


class Slopes(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.slope = nn.Parameter(torch.full((channels,), 0.3))

    def forward(self, x):
        return F.prelu(x, self.slope)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_trained_slope_comes_as_it_is(channels):
    model = Slopes(channels)
    (match,) = recognise_graph(model)
    assert match.definition.name == "prelu"
    assert match.definition.slope.tolist() == model.slope.tolist()
    assert not match.definition.slope.requires_grad


def test_tracing_runs_nothing_of_the_model():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return torch.relu(x + torch.randn(3))

    model, state = Counts(), torch.random.get_rng_state()
    assert [m.definition.name for m in recognise_graph(model)] == ["relu"]
    assert model.calls == 0
    assert torch.equal(torch.random.get_rng_state(), state)
