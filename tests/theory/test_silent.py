"""Dead units foreseen: by biases, by depth, at an output; and none where units only fire seldom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.theory.silent import SELDOM, born_dead, edge, expected_share


def relu_net(width: int, depth: int, seed: int = 0, bias: float = 0.0, inputs: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else inputs, width), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        nn.init.constant_(layers[-2].bias, bias)
    return nn.Sequential(*layers, nn.Linear(width, 2))


def batch(count: int = 256, inputs: int = 8) -> Tensor:
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(1))


def truly_dead(model: nn.Sequential, x: Tensor) -> dict[str, float]:
    """By module, the share of units that are 0 for every sample."""
    found = {}
    with torch.no_grad():
        for name, module in model.named_children():
            x = module(x)
            if isinstance(module, nn.ReLU):
                found[name] = float((x.amax(0) <= 0).double().mean())
    return found


@pytest.mark.parametrize("width", [16, 512])
def test_biases_far_below_zero_are_the_cause_of_dead_units_and_where_they_are_is_true(width):
    model = relu_net(width, 3, bias=-4.0)
    (found,) = ut.forecast(model, batch()).findings
    assert (found.kind, found.cause) == ("dead", "weights")
    assert "has mean −4 and" in found.because
    after = list(model)[int(found.where.split()[0]) + 1]
    assert isinstance(after, nn.ReLU)
    dead = truly_dead(model, batch(20_000))
    assert dead[str(int(found.where.split()[0]) + 1)] >= 0.5


@pytest.mark.parametrize("seed", range(4))
def test_units_of_a_narrow_deep_net_are_foreseen_where_they_are_dead(seed):
    model = relu_net(5, 15, seed)
    forecast = ut.forecast(model, batch())
    dead = truly_dead(model, batch(20_000))
    assert {s.module: share for s, share in forecast.silent.items()} == pytest.approx(dead, abs=0.21)
    worst = max(dead.values())
    kinds = {f.kind for f in forecast.findings}
    assert worst < 0.5 or kinds & {"dead", "vanishing"}
    assert worst < 1.0 or "critical" in {f.severity for f in forecast.findings if f.kind == "dead"} | {
        "critical" for k in kinds if k == "vanishing"
    }


def test_layers_that_fire_seldom_or_are_wide_have_no_dead_half():
    for model in (relu_net(512, 3, bias=-1.0), relu_net(64, 6), relu_net(8, 2)):
        told = ut.forecast(model, batch())
        assert max(told.silent.values()) < 0.5
        assert told.healthy


@pytest.mark.parametrize("bias", [-0.5, -1.0, -3.0])
def test_theory_expects_as_many_silent_units_as_there_are(bias):
    wide = relu_net(1024, 3, bias=bias, inputs=256)
    forecast = ut.forecast(wide, batch(256, 256))
    nodes, signals = forecast.blueprint.nodes, forecast.flow.signals
    x = batch(4000, 256)
    for node in nodes:
        if node.site is not None and node.site.effect == "activation":
            with torch.no_grad():
                fires = wide[: int(node.site.module)](x) > 0
            silent = float((fires.double().mean(0) < SELDOM).double().mean())
            assert expected_share(signals[node.inputs[0]], 0.0) == pytest.approx(silent, abs=0.2)


def test_matched_weights_have_no_silent_units():
    forecast = ut.forecast(relu_net(256, 2, bias=-4.0), batch(64))
    assert forecast.matched is not None
    assert max(forecast.matched.silent.values()) < 0.1 < max(forecast.silent.values())


def test_an_output_that_is_cut_off_is_the_activations_fault():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1), nn.ReLU())
    nn.init.constant_(model[2].bias, -6.0)
    (found,) = ut.forecast(model, batch()).findings
    assert (found.kind, found.cause, found.severity) == ("dead", "activation", "critical")
    assert found.where.startswith("3")


def test_nothing_of_the_model_is_changed_by_looking():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU()), batch()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert ut.forecast(model, x).silent
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_only_a_flat_side_kills():
    starts = {name: edge(ut.activation(name)) for name in ("relu", "leaky_relu", "gelu", "relu6", "tanh", "elu")}
    assert starts == dict.fromkeys(starts, None) | {"relu": 0.0}


def test_the_bound_of_born_dead_networks():
    assert born_dead([5] * 15) == pytest.approx(0.379, abs=1e-3)
    assert born_dead([64] * 50) < 1e-15
