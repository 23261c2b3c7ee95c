"""What a forecast says as a whole: its ledger, depths, findings, cure, doubts; each against a measurement."""

from __future__ import annotations

import math
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.diagnosis import measured
from undertow.foundation import InputError, UnknownNameError, language
from undertow.theory.folding import Folded, folded

WIDTH = 128


def chain(
    activation: type[nn.Module], depth: int, width: int = WIDTH, std: float | None = None, seed: int = 0
) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width), activation())])
    for layer in model[::2]:
        if std is not None:
            nn.init.normal_(layer.weight, 0, std / math.sqrt(width))
            nn.init.zeros_(layer.bias)
    return model


def batch(count: int = 64, width: int = WIDTH) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(8)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


# ---------------------------------------------------------------- the ledger


@pytest.mark.parametrize("network", ["chain", "residual"])
def test_its_ledger_has_the_sites_the_path_and_the_factors_of_a_measured_one(network):
    torch.manual_seed(0)
    model = chain(nn.Tanh, 8) if network == "chain" else Residual()
    foreseen, found = ut.forecast(model, batch()).ledger, measured(model, batch())
    assert [e.site.name for e in foreseen] == [e.site.name for e in found]
    assert [e.on_path for e in foreseen] == [e.on_path for e in found]
    assert [e.previous for e in foreseen] == [e.previous for e in found]
    for expected, entry in zip(foreseen, found, strict=True):
        for effect in ("activation", "weights", "normalisation", "branching", "other"):
            assert getattr(expected, effect) == pytest.approx(getattr(entry, effect), rel=0.15), entry.site.name
    assert foreseen.end_to_end == pytest.approx(foreseen.product)
    assert foreseen.end_to_end == pytest.approx(found.end_to_end, rel=0.25)


class Parts(nn.Module):
    """Three outputs of one call, used at very different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        small, large, other = self.first(x).chunk(3, dim=-1)
        return self.last(0.01 * small + large + 3 * other)


def test_outputs_of_one_call_are_one_entry():
    torch.manual_seed(0)
    model = Parts()
    foreseen, found = ut.forecast(model, batch()), measured(model, batch())
    assert [e.site.name for e in foreseen.ledger] == [e.site.name for e in found]
    for expected, entry in zip(foreseen.ledger, found, strict=True):
        assert expected.backward_rms == pytest.approx(entry.backward_rms, rel=0.1), entry.site.name
        assert expected.backward.count == entry.backward.count
    assert foreseen.ledger.end_to_end == pytest.approx(foreseen.ledger.product)
    assert all(s.low <= s.backward_rms <= s.high for s in foreseen.sites)


def test_its_slopes_are_those_that_are_measured():
    model = chain(nn.Tanh, 3, std=3.0)
    for expected, entry in zip(ut.forecast(model, batch(256)).ledger, measured(model, batch(256)), strict=True):
        assert (expected.slope is None) == (entry.slope is None)
        if expected.slope is not None and entry.slope is not None:
            assert expected.slope.mean == pytest.approx(entry.slope.mean, rel=0.05)
            assert expected.slope.flat == pytest.approx(entry.slope.flat, abs=0.02)


def test_sites_are_found_by_name_and_a_wrong_one_names_the_nearest():
    forecast = ut.forecast(chain(nn.ReLU, 2), batch())
    assert forecast["3"] is forecast["3#0"]
    with pytest.raises(UnknownNameError, match="'3x'"):
        forecast["3x"]


def test_sizes_go_with_the_cotangent_and_the_findings_do_not():
    one, other = (ut.forecast(chain(nn.Sigmoid, 12), batch(), cotangent=c) for c in (1.0, 1e-6))
    assert other.sites[0].backward_rms == pytest.approx(1e-6 * one.sites[0].backward_rms)
    kinds = [[(f.kind, f.severity, f.cause, f.where) for f in forecast.findings] for forecast in (one, other)]
    assert kinds[0] == kinds[1]
    assert other.underflow_depth[torch.float32] < one.underflow_depth[torch.float32]


# ---------------------------------------------------------------- depths


def layers_until_zero(model: nn.Sequential, x: Tensor) -> int:
    outputs = []
    for module in model:
        x = module(x)
        outputs += [x] if isinstance(module, nn.Linear) else []
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(x)
    gradients = torch.autograd.grad(x, outputs, cotangent)
    return next(i for i, g in enumerate(reversed(gradients), 1) if not g.any())


@pytest.mark.parametrize(
    ("activation", "dtype", "depth"),
    [
        (nn.Sigmoid, torch.float32, 70),
        (nn.Sigmoid, torch.float16, 16),
        (nn.SiLU, torch.float16, 24),
        (nn.ReLU, torch.float16, 32),
        (nn.ReLU, torch.bfloat16, 130),
    ],
)
def test_gradients_end_at_the_depth_that_a_model_of_twelve_layers_foresees(activation, dtype, depth):
    foreseen = ut.forecast(chain(activation, 12), batch(16)).underflow_depth[dtype]
    models = (chain(activation, depth, seed=seed).to(dtype) for seed in range(5))
    truth = median(layers_until_zero(model, batch(16).to(dtype)) for model in models)
    # 4 %: that samples share their scatter, which comes with depth, is not continued from twelve layers
    assert abs(foreseen - truth) <= max(2, 0.04 * truth)


def test_inside_the_model_the_depth_is_counted_not_continued():
    deep, shallow = (ut.forecast(chain(nn.Sigmoid, n), batch(16)).underflow_depth for n in (20, 12))
    assert deep[torch.float16] == shallow[torch.float16] == pytest.approx(10, abs=2)


def test_gradients_overflow_at_the_depth_foreseen():
    forecast = ut.forecast(ut.blueprint.mlp(12, WIDTH, "relu", weight_variance=8.0), cotangent=1.0)
    foreseen = int(forecast.overflow_depth[torch.float16])
    model = chain(nn.ReLU, foreseen + 4, std=math.sqrt(8.0)).double()
    x = (batch() * 1e-9).double()
    outputs = []
    for module in model:
        x = module(x)
        outputs += [x] if isinstance(module, nn.Linear) else []
    gradients = torch.autograd.grad(x, outputs, torch.randn(x.shape, dtype=torch.double))
    truth = next(i for i, g in enumerate(reversed(gradients), 1) if float(g.abs().max()) > 65504)
    assert abs(foreseen - truth) <= 1
    assert forecast.underflow_depth[torch.float32] == math.inf


def test_a_residual_network_ends_nowhere():
    forecast = ut.forecast(Residual(), batch())
    assert set(forecast.underflow_depth.values()) == {math.inf}
    assert forecast.trainable_depth == math.inf


def test_one_rate_serves_so_many_layers_as_the_findings_say():
    depth = int(ut.forecast(ut.blueprint.mlp(20, 512, "sigmoid", weight_variance=1 / 3)).trainable_depth)
    kinds = [
        [f.kind for f in ut.forecast(ut.blueprint.mlp(n, 512, "sigmoid", weight_variance=1 / 3)).findings]
        for n in (depth - 1, depth)
    ]
    assert kinds == [[], ["vanishing"]]


class Branched(nn.Module):
    """Blocks of two layers, one of them four times as wide, behind a residual sum."""

    def __init__(self, blocks: int = 8, width: int = WIDTH) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(blocks))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.head(x)


@pytest.mark.parametrize("std", [None, 0.1])
def test_the_change_a_layer_is_not_that_of_every_second_layer(std):
    torch.manual_seed(0)
    model = Branched()
    for layer in model.down if std else ():
        nn.init.normal_(layer.weight, std=std)
    forecast = ut.forecast(model, batch())
    blocks = [layer.rms for layer in forecast._layers[1::2]]
    across = (blocks[-1] / blocks[0]) ** (1 / (2 * len(blocks) - 2))
    assert forecast.per_layer == pytest.approx(across, rel=0.05) or forecast.per_layer == 1.0


def test_a_change_a_layer_is_told_where_it_makes_the_change_in_all():
    even = ut.forecast(chain(nn.Tanh, 6), batch())
    assert "a layer" in str(even).split("\n")[0]
    assert even.per_layer ** (even.layers - 1) == pytest.approx(even.left, rel=1.0)
    narrow = nn.Sequential(chain(nn.Tanh, 6, std=1.2), nn.Linear(WIDTH, 2))
    told = ut.forecast(narrow, batch())
    site, step = told.largest_step or (None, 0.0)
    assert site is not None
    assert site.module == "1"
    assert step == pytest.approx(told._layers[1].rms / told._layers[0].rms)
    sentence = str(told).split("\n")[0]
    assert "a layer" not in sentence
    assert "1 (linear)" in sentence
    assert "a layer" not in str(ut.forecast(nn.Linear(5, 5), torch.randn(4, 5))).split("\n")[0]


# ---------------------------------------------------------------- findings


SICK = {
    "vanishing, activation": ({"activation": "sigmoid", "weight_variance": 1 / 3}, "vanishing", "activation"),
    "vanishing, weights": ({"activation": "relu", "weight_variance": 0.3}, "vanishing", "weights"),
    "exploding, weights": ({"activation": "relu", "weight_variance": 8.0}, "exploding", "weights"),
    "exploding, depth": ({"activation": "relu", "weight_variance": 2.0, "norm": "batch_norm"}, "exploding", "depth"),
}


@pytest.mark.parametrize("name", SICK)
def test_sick_networks_are_found_with_their_cause(name):
    settings, kind, cause = SICK[name]
    forecast = ut.forecast(ut.blueprint.mlp(30, 512, **settings))
    assert [(f.kind, f.cause) for f in forecast.findings] == [(kind, cause)]
    assert not forecast.healthy
    assert not all(e.within for e in forecast.findings[0].evidence)


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 5, "activation": "relu", "weight_variance": 1 / 3},
        {"depth": 30, "activation": "relu", "weight_variance": 2.0},
        {"depth": 30, "activation": "tanh", "weight_variance": 1.0},
        {"depth": 8, "activation": "relu", "norm": "batch_norm"},
        {"depth": 24, "activation": "gelu", "norm": "layer_norm", "residual": True},
    ],
)
def test_healthy_networks_have_no_finding(settings):
    assert ut.forecast(ut.blueprint.mlp(width=512, **settings)).findings == ()


def test_saturated_units_are_told_from_a_large_input():
    weights = ut.forecast(chain(nn.Tanh, 3, std=30.0), batch())
    data = ut.forecast(chain(nn.Tanh, 3, std=1.0), 30 * batch())
    assert [(f.kind, f.cause) for f in weights.findings] == [("saturated", "weights")]
    assert [(f.kind, f.cause, f.where) for f in data.findings] == [("saturated", "input_scale", "0 (linear)")]


def test_layers_at_zero_and_identical_units_are_no_vanishing_gradient():
    zeros, ones, head = chain(nn.ReLU, 4), chain(nn.ReLU, 4), chain(nn.ReLU, 4)
    for model, value in ((zeros, 0.0), (ones, 0.01)):
        for layer in model[::2]:
            nn.init.constant_(layer.weight, value)
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(head[-2].weight)
    found = [[(f.kind, f.severity) for f in ut.forecast(m, batch()).findings] for m in (zeros, ones, head)]
    assert found == [[("symmetric", "critical")], [("symmetric", "critical")], [("symmetric", "note")]]


def test_a_first_layer_of_identical_units_alone_learns():
    model = chain(nn.ReLU, 4)
    nn.init.constant_(model[0].weight, 0.05)
    nn.init.zeros_(model[0].bias)
    assert [f for f in ut.forecast(model, batch()).findings if f.kind == "symmetric"] == []


class Cut(nn.Module):
    """A branch whose gradient is cut off, a layer that is never called, and a frozen one."""

    def __init__(self, cut: bool, unused: bool) -> None:
        super().__init__()
        self.first, self.side, self.last = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(requires_grad=False)
        self.cut = cut
        if unused:
            self.unused = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        side = self.side(x)
        return self.last(self.frozen(F.relu(self.first(x))) + (side.detach() if self.cut else side))


def test_parameters_without_a_gradient_are_named():
    cut, unused, whole = (ut.forecast(Cut(*which), batch()).findings for which in ((1, 0), (0, 1), (0, 0)))
    assert [(f.kind, f.severity, f.where) for f in cut] == [("disconnected", "warning", "side.weight")]
    assert [(f.kind, f.severity, f.where) for f in unused] == [("disconnected", "note", "unused.weight")]
    assert whole == ()
    model = Cut(cut=True, unused=True)
    model(batch()).sum().backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == {"side.weight", "side.bias", "unused.weight", "unused.bias"}


def test_values_that_leave_the_format_and_a_softmax_of_one_are_told_by_name():
    class Exponential(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(x)

    wild, large = chain(Exponential, 6), chain(nn.ReLU, 2)
    given = batch()
    given[0, 0] = math.nan
    one = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1), nn.Softmax(dim=-1))
    found = [ut.forecast(m, x).findings for m, x in ((wild, 9 * batch()), (large, given), (one, batch()))]
    kinds = [[(f.kind, f.severity, f.cause) for f in findings] for findings in found]
    assert kinds[0][0][:2] == ("nonfinite", "critical")
    assert kinds[1] == [("nonfinite", "critical", "input_scale")]
    assert kinds[2] == [("loss_mismatch", "critical", "loss")]
    assert not wild(9 * batch()).isfinite().all()
    assert all(str(f) for findings in found for f in findings)


# ---------------------------------------------------------------- cure


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.GELU])
def test_matched_weights_are_forecast_as_they_turn_out(activation):
    model = chain(activation, 12)
    before = ut.forecast(model, batch())
    weights = [p.clone() for p in model.parameters()]
    matched = before.matched
    assert matched is not None
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    ut.init.match_(model)
    after = ut.forecast(model, batch())
    assert matched.end_to_end == pytest.approx(after.end_to_end, rel=0.1)
    assert [f.kind for f in matched.findings] == [f.kind for f in after.findings]
    assert (before.findings[0].cures[0] == "matched_init") == matched.healthy


def test_a_blueprint_has_no_model_to_match():
    assert ut.forecast(ut.blueprint.mlp(30, 128, "sigmoid")).matched is None


# ---------------------------------------------------------------- isometry and doubts


def stretched(model: nn.Sequential, x: Tensor) -> float:
    """Variance of the squared singular values of the Jacobian from the first site on, over their mean's square."""
    found = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(model[1:], model[0](sample))
        squares = torch.linalg.svdvals(jacobian.double()).square()
        found.append(float(squares.var(correction=0) / squares.mean().square()))
    return sum(found) / len(found)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_jacobians_spread_is_that_of_the_actual_weights(orthogonal):
    model = chain(nn.Tanh, 5, width=256, std=1.1)
    if orthogonal:
        for layer in model[::2]:
            nn.init.orthogonal_(layer.weight, gain=1.1)
    foreseen = ut.forecast(model, batch(16, 256)).isometry
    assert foreseen is not None
    assert foreseen.variance == pytest.approx(stretched(model, batch(4, 256)), rel=0.2)


def test_only_a_chain_has_a_known_spread():
    assert ut.forecast(Residual(), batch()).isometry is None


def test_a_size_that_leaves_its_fixed_point_and_a_deep_narrow_net_are_flagged():
    he = ut.forecast(ut.blueprint.mlp(50, 512, "gelu", weight_variance=2.0))
    assert "unstable" in he.flags
    assert he.growth > 3
    assert ut.forecast(ut.blueprint.mlp(50, 512, "relu", weight_variance=2.0)).growth == pytest.approx(1.0)
    assert "narrow" in ut.forecast(ut.blueprint.mlp(50, 32, "relu", weight_variance=2.0)).flags


def test_the_growth_of_an_error_is_that_of_a_changed_input():
    # GELU at He's variance: the size of a layer far from the input changes more than that of the input
    model = chain(nn.GELU, 20, width=512, std=math.sqrt(2))
    x = F.normalize(batch(8, 512)) * math.sqrt(512)
    one, other = (ut.forecast(model, x * s) for s in (1.0, 1.001))
    change = math.log(other.sites[-1].forward_rms / one.sites[-1].forward_rms) / math.log(1.001)
    assert one.growth == pytest.approx(change, rel=0.1)


# ---------------------------------------------------------------- blueprints, printing, bad input


def test_a_blueprint_by_hand_is_forecast_as_the_model_that_it_describes():
    model = chain(nn.Tanh, 10, width=256, std=1.2)
    by_hand = ut.forecast(ut.blueprint.mlp(10, 256, "tanh", weight_variance=1.44))
    assert by_hand.end_to_end == pytest.approx(ut.forecast(model, batch(64, 256)).end_to_end, rel=0.05)


def test_equal_blocks_are_told_once():
    sites = ut.forecast(chain(nn.ReLU, 30), batch()).sites
    short = folded(sites)
    folds = [line for line in short if isinstance(line, Folded)]
    assert len(folds) == 1
    assert (folds[0].blocks, folds[0].sites) == (28, 56)
    assert folds[0].factor == pytest.approx(math.sqrt(1 / 6), rel=0.02)
    assert len(sites) == sum(line.sites if isinstance(line, Folded) else 1 for line in short)
    assert folded(sites[:20]) == list(sites[:20])


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_it_prints_its_verdict_first(lang):
    with language(lang):
        sick = str(ut.forecast(chain(nn.Sigmoid, 20), batch()))
        sound = str(ut.forecast(chain(nn.ReLU, 3), batch()))
    assert sick.splitlines()[0].startswith({"en": "CRITICAL: The gradient will vanish", "ko": "심각"}[lang])
    assert "match_" in sick.splitlines()[1]
    assert sound.splitlines()[0].startswith(
        {"en": "The gradient will reach every layer", "ko": "기울기가 모든 층에"}[lang]
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ut.forecast(chain(nn.ReLU, 1), batch(), cotangent=0.0), "a cotangent of rms 0.0"),
        (lambda: ut.blueprint.mlp(0, 8), "depth=0"),
        (lambda: ut.blueprint.mlp(2, 8, norm="weight_norm"), "batch_norm, layer_norm, rms_norm"),
        (lambda: ut.blueprint.mlp(2, 8, "softmax"), "a function of one number"),
        (lambda: ut.blueprint.mlp(2, 8, weight_variance=-1.0), "variances"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, says):
    with pytest.raises(InputError, match=says):
        call()
