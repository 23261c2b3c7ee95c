"""`match_` against real networks: the sizes that it promises are measured."""

import math

import pytest
import torch
from torch import nn

from undertow.activations import Custom, activation
from undertow.foundation import InputError, ModelError, UnknownNameError, language
from undertow.theory import gain, half_stable, match_


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def mlp(name: str, depth: int, width: int) -> nn.Sequential:
    blocks = (layer for _ in range(depth) for layer in (nn.Linear(width, width), activation(name).layer()))
    return nn.Sequential(*blocks, nn.Linear(width, 10))


def sizes(model: nn.Sequential, x: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean squares of each linear layer's output and of the gradient at its input, for a random loss."""
    inputs, outputs, h = [], [], x.clone().requires_grad_()
    for module in model:
        if isinstance(module, nn.Linear):
            h.retain_grad()
            inputs.append(h)
        h = module(h)
        if isinstance(module, nn.Linear):
            outputs.append(h)
    (h * torch.randn_like(h)).sum().backward()
    return [o.square().mean().item() for o in outputs], [i.grad.square().mean().item() for i in inputs]


def measured(name: str, direction: str, depth: int = 6, width: int = 256, draws: int = 12, first: int = 0):
    """Over draws of the weights: forward mean squares, and the gradient's at one input over the last."""
    forward, ratio = torch.zeros(depth + 1), 0.0
    for seed in range(draws):
        torch.manual_seed(seed)
        model = mlp(name, depth, width)
        account = match_(model, direction)
        f, b = sizes(model, torch.randn(50, width))
        forward, ratio = forward + torch.tensor(f) / draws, ratio + b[first] / b[-1] / draws
    return account, forward.tolist(), ratio


# Infinite width says 1; one draw of 256 units varies by up to 20 % (swish), the mean of 12 by 6 %, and swish, whose
# mean is not 0, has a bias of some 10 % at this width.
TOLERANCE = 0.2


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "elu", "swish", "prelu"])
def test_the_backward_value_keeps_its_size_and_the_forward_is_as_accounted(name):
    account, forward, ratio = measured(name, "backward")
    assert ratio == pytest.approx(1, rel=TOLERANCE)
    assert forward == pytest.approx([m.rms**2 for m in account], rel=TOLERANCE)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "swish"])
def test_forward_keeps_pre_activations_at_variance_1(name):
    account, forward, ratio = measured(name, "forward")
    assert forward[:-1] == pytest.approx([1.0] * 6, rel=TOLERANCE)  # the head has gain 1
    assert [m.gain for m in account[1:-1]] == pytest.approx([gain(name)] * 5)
    lost = gain(name, "backward") ** -2 * (gain(name) / gain(name, "backward")) ** 10
    assert ratio == pytest.approx(lost, rel=TOLERANCE)


def test_a_gain_computed_at_variance_1_fails_where_the_solved_one_holds():
    model, x = mlp("sigmoid", depth=20, width=64), torch.randn(256, 64)
    match_(model)
    solved = sizes(model, x)[1]
    with torch.no_grad():
        for layer in model[:-1:2]:
            layer.weight.normal_(0, gain("sigmoid", "backward") / 8)
    naive = sizes(model, x)[1]
    assert 0.1 < math.sqrt(solved[0] / solved[-1]) < 10
    assert math.sqrt(naive[0] / naive[-1]) < 1e-2


def test_relu_is_he_in_both_directions():
    for direction in ("forward", "backward"):
        account = match_(mlp("relu", 3, 50), direction)
        assert [m.gain for m in account[1:-1]] == pytest.approx([math.sqrt(2)] * 2)
        assert account[-1].gain == 1


def test_account_prints_as_a_table_in_both_languages():
    account = match_(mlp("tanh", 2, 16))
    lines = str(account).splitlines()
    assert lines[0].split("  ")[0] == "layer"
    assert [line.split()[:2] for line in lines[1:]] == [["0", "tanh"], ["2", "tanh"], ["4", "-"]]
    assert account[0].std == pytest.approx(account[0].gain / 4)
    with language("ko"):
        assert str(account).startswith("층")


class Blocks(nn.Module):
    """A model whose parts stand in nested modules, with one activation module used twice."""

    def __init__(self):
        super().__init__()
        act = nn.ReLU()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), act)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), act, nn.ConvTranspose2d(8, 6, 4, stride=2))
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(10), nn.Softmax(dim=1))


def test_convolutions_norms_groups_and_a_shared_activation():
    model = Blocks()
    model.head[1] = nn.Linear(8, 10, bias=False)
    account = match_(model)
    assert [m.name for m in account] == ["stem.0", "body.0", "body.2", "head.1"]
    assert [m.activation for m in account] == ["relu", "relu", "", ""]
    fans = (27, 4 * 9, 8 * 16 / 4, 8)
    assert [m.std for m in account] == pytest.approx(
        [m.gain / math.sqrt(f) for m, f in zip(account, fans, strict=True)]
    )
    assert model.stem[0].weight.std().item() == pytest.approx(account[0].std, rel=0.15)
    assert not model.body[2].bias.any()


def test_transposed_convolution_keeps_its_size():
    model = nn.Sequential(nn.ConvTranspose2d(64, 64, 4, stride=2), nn.Flatten(1, 2), nn.Linear(66, 1))
    account = match_(model)
    out = model[0](torch.randn(2, 64, 32, 32))[:, :, 4:-4, 4:-4]
    assert out.square().mean().item() == pytest.approx(account[0].rms ** 2, rel=0.1)


def test_before_a_normalisation_the_gain_is_that_of_variance_1():
    model = nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)
    )
    account = match_(model)
    assert account[0].gain == pytest.approx(gain("tanh", "backward"))
    assert account[1].gain == match_(mlp("tanh", 1, 8))[0].gain


def test_activation_names_what_no_module_shows():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    assert [m.activation for m in match_(model)] == ["", "", ""]
    assert [m.gain for m in match_(model)] == [1, 1, 1]
    assert [m.activation for m in match_(model, activation="tanh")] == ["tanh", "tanh", ""]


def test_the_funnel_is_left_alone_and_keeps_both_sizes():
    model = nn.Sequential(
        *[m for _ in range(6) for m in (nn.Conv2d(48, 48, 3, padding=1), activation("frelu").layer(channels=48))],
        nn.Flatten(),
        nn.LazyLinear(5),
    )
    x = torch.randn(8, 48, 12, 12)
    model(x)
    before = model[1].window.weight.clone()
    match_(model)
    assert torch.equal(model[1].window.weight, before)
    outputs, h = [], x
    for module in model[:12]:
        h = module(h)
        if isinstance(module, nn.Conv2d):
            h.retain_grad()
            outputs.append(h)
    (h * torch.randn_like(h)).sum().backward()
    assert outputs[-1].square().mean().item() == pytest.approx(1, rel=0.4)
    assert 0.5 < (outputs[0].grad.norm() / outputs[-1].grad.norm()).item() < 2


def test_a_generator_makes_it_repeatable_and_leaves_the_global_one_alone():
    state, models = torch.get_rng_state(), [nn.Sequential(nn.Linear(4, 4)) for _ in range(2)]
    state = torch.get_rng_state()
    for model in models:
        match_(model, generator=torch.Generator().manual_seed(3))
    assert torch.equal(models[0][0].weight, models[1][0].weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["gelu", "tanh", "sigmoid", "relu"])
def test_critical_keeps_both_sizes(name):
    account, forward, ratio = measured(name, "critical", depth=8, first=1)  # the first layer brings the variance there
    assert forward == pytest.approx([m.rms**2 for m in account], rel=TOLERANCE)
    assert forward[1:-1] == pytest.approx([forward[0]] * 7, rel=TOLERANCE)
    assert ratio == pytest.approx(1, rel=1.5 * TOLERANCE)


def test_critical_is_the_half_stable_point_where_there_is_one():
    model = mlp("mish", 4, 400)
    account, point = match_(model, "critical"), half_stable("mish")
    assert [m.rms**2 for m in account[:-1]] == pytest.approx([point.q] * 4)
    assert [m.gain for m in account[1:-1]] == pytest.approx([point.sigma_w] * 3)
    assert [m.bias for m in account[:-1]] == pytest.approx([point.sigma_b] * 4)
    assert model[2].bias.std().item() == pytest.approx(point.sigma_b, rel=0.15)
    unbiased = nn.Sequential(nn.Linear(9, 9, bias=False), nn.Mish(), nn.Linear(9, 9))
    assert [m.bias for m in match_(unbiased, "critical")] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "target", "distribution"),
    [
        ("tanh", "backward", "normal"),
        ("tanh", "backward", "orthogonal"),
        ("gelu", "critical", "uniform"),
        ("gelu", "critical", "truncated_normal"),
    ],
)
def test_fifty_layers_keep_their_backward_value(distribution, name, target):
    logs = []
    for seed in range(2):
        model = mlp(name, depth=50, width=200)
        match_(model, target, distribution=distribution, generator=torch.Generator().manual_seed(seed))
        _, backward = sizes(model, torch.randn(20, 200))
        logs.append(math.log(backward[1] / backward[-1]) / 2)
    # 50 layers of 200 units: β ≈ 0.5, so that ln(rms) varies by 0.4 a seed; torch's own default leaves e^−28
    assert sum(logs) / 2 == pytest.approx(0, abs=1)


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "orthogonal"])
@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Linear(200, 300), nn.Conv2d(40, 30, 3, groups=2)])
def test_distributions_have_the_variance_of_the_account(distribution, layer):
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(4, 4))
    std = match_(model, distribution=distribution)[0].std
    weight = layer.weight.detach().flatten(1)
    assert weight.square().mean().sqrt().item() == pytest.approx(std, rel=0.02)
    if distribution == "uniform":
        assert weight.abs().max().item() == pytest.approx(math.sqrt(3) * std, rel=0.01)
    if distribution == "truncated_normal":
        assert weight.abs().max().item() == pytest.approx(2 * std / 0.8796, rel=0.02)
    if distribution == "orthogonal":
        gram = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        assert torch.allclose(gram, gram[0, 0] * torch.eye(len(gram)), atol=1e-4 * gram[0, 0].item())


def test_orthogonal_in_bfloat16():
    layer = nn.Linear(8, 8, dtype=torch.bfloat16)
    match_(nn.Sequential(layer), distribution="orthogonal")
    assert layer.weight.float().square().mean().item() == pytest.approx(1 / 8, rel=0.02)


def test_bad_input_changes_nothing():
    with pytest.raises(ModelError, match="without Linear or convolution layers"):
        match_(nn.Sequential(nn.ReLU()))
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LazyLinear(2))
    before = model[0].weight.clone()
    with pytest.raises(ModelError, match="has no weights yet"):
        match_(model)
    model[2] = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
    with pytest.raises(ModelError, match="remove_parametrizations"):
        match_(model)
    with pytest.raises(InputError, match="'up'; expected one of 'backward', 'forward', 'critical'"):
        match_(model, "up")
    with pytest.raises(InputError, match="the distribution 'cauchy'"):
        match_(model, distribution="cauchy")
    with pytest.raises(UnknownNameError, match="'relu'"):
        match_(model, activation="rellu")
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("function", "direction"),
    [
        (torch.log, "backward"),
        (torch.log, "forward"),
        (torch.sqrt, "backward"),
        (torch.ones_like, "backward"),
    ],
)
def test_an_activation_that_no_weights_match(function, direction):
    model = nn.Sequential(nn.Linear(4, 4), Custom("odd", function).layer(), nn.Linear(4, 4))
    before = model[0].weight.clone()
    with pytest.raises(InputError, match="got odd, "):
        match_(model, direction)
    assert torch.equal(model[0].weight, before)
