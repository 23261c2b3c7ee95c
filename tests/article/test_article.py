"""Every statement of the article on activation functions, one test each; `docs/article.md` is the table of them.

Where a statement is loose, the test holds what is precisely true.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from article_nets import HE, Attention, batch, examine, flat, left, net, train
from torch import nn

import undertow as ut
from undertow.activations import FunnelReLU, traits

X = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
"""Sigmoid has not yet rounded to 1 at 30 (in float64 it does from 36.8 on)."""
DEPTHS = (5, 10, 20)


def slope_by_autograd(name, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(ut.activation(name)(x).sum(), x)[0]


# 0 and 1: why a network needs an activation


def test_layers_without_an_activation_are_one_linear_map():
    model, (x, _) = net("identity", 5), batch()
    zero = model(torch.zeros(1, 64))
    torch.testing.assert_close(model(3 * x) - zero, 3 * (model(x) - zero), rtol=1e-4, atol=1e-5)
    bent, at_zero = net("tanh", 5, 4.0)(x), net("tanh", 5, 4.0)(torch.zeros(1, 64))
    assert (net("tanh", 5, 4.0)(3 * x) - at_zero - 3 * (bent - at_zero)).abs().max() > 1


def test_layer_is_activation_of_weights_times_input_plus_bias():
    (x, _), model = batch(), net("sigmoid", 1)
    layer = model[0]
    assert isinstance(layer, nn.Linear)  # torch keeps Wᵀ: its weight has shape (outputs, inputs)
    torch.testing.assert_close(model[:2](x), ut.activation("sigmoid")(x @ layer.weight.T + layer.bias))


# 2: the four functions


def test_sigmoid_lies_between_0_and_1():
    y = ut.activation("sigmoid")(X)
    assert ((y > 0) & (y < 1)).all()
    torch.testing.assert_close(y, 1 / (1 + torch.exp(-X)), rtol=1e-13, atol=0)
    assert traits(ut.activation("sigmoid")).range == (0.0, 1.0)


def test_sigmoid_gives_a_probability_that_a_binary_loss_takes():
    logits, target = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([0.0, 1.0, 1.0])
    p = ut.activation("sigmoid")(logits)
    torch.testing.assert_close(F.binary_cross_entropy(p, target), F.binary_cross_entropy_with_logits(logits, target))


def test_sigmoid_derivative_is_at_most_a_quarter():
    sigmoid = ut.activation("sigmoid")
    y, slope = sigmoid(X), sigmoid.derivative(X)
    torch.testing.assert_close(slope, y * (1 - y), rtol=1e-9, atol=1e-14)  # 1 − σ cancels for large x
    torch.testing.assert_close(slope, slope_by_autograd("sigmoid", X), rtol=1e-9, atol=1e-14)
    assert sigmoid.derivative(0.0) == 0.25 == pytest.approx(traits(sigmoid).steepest, rel=1e-15)
    assert (slope[X.abs() > 1e-6] < 0.25).all()


def test_tanh_lies_between_minus_1_and_1():
    near = X[X.abs() < 18]  # beyond 19.06 the nearest float64 to tanh is 1 itself
    y = ut.activation("tanh")(near)
    assert ((y > -1) & (y < 1)).all()
    up, down = near.exp(), (-near).exp()
    torch.testing.assert_close(y, (up - down) / (up + down), rtol=1e-12, atol=1e-15)


def test_tanh_has_a_range_twice_as_wide_as_sigmoid():
    (low, high), (zero, one) = traits(ut.activation("tanh")).range, traits(ut.activation("sigmoid")).range
    assert high - low == 2 * (one - zero) == 2


def test_tanh_is_centred_at_0_where_sigmoid_is_always_positive():
    tanh, sigmoid = ut.activation("tanh"), ut.activation("sigmoid")
    assert traits(tanh).odd
    x = torch.randn(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert abs(tanh(x).mean().item()) < 0.01
    assert sigmoid(x).mean().item() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(tanh(x), 2 * sigmoid(2 * x) - 1)  # one is the other, stretched


def test_tanh_derivative_is_1_only_at_0():
    tanh = ut.activation("tanh")
    y, slope = tanh(X), tanh.derivative(X)
    torch.testing.assert_close(slope, 1 - y * y, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(slope, slope_by_autograd("tanh", X), rtol=1e-9, atol=1e-14)
    assert tanh.derivative(0.0) == traits(tanh).steepest == 1
    assert (slope[X.abs() > 1e-6] < 1).all()


def test_relu_is_the_larger_of_0_and_x():
    assert torch.equal(ut.activation("relu")(X), torch.maximum(X, torch.zeros_like(X)))


def test_relu_derivative_is_1_above_0_and_0_at_and_below():
    slope = ut.activation("relu").derivative(X)
    assert (slope[X > 0] == 1).all()
    assert (slope[X <= 0] == 0).all()
    assert ut.activation("relu").derivative(0.0) == 0.0
    assert torch.equal(slope, slope_by_autograd("relu", X))


def test_swish_is_x_times_sigmoid_with_the_derivative_of_the_article():
    swish, s = ut.activation("swish"), torch.sigmoid(X)
    torch.testing.assert_close(swish(X), X * s, rtol=1e-13, atol=0)
    torch.testing.assert_close(swish.derivative(X), s * (1 + X * (1 - s)), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(swish.derivative(X), slope_by_autograd("swish", X), rtol=1e-11, atol=1e-13)


def test_swish_keeps_a_gradient_below_0_that_is_negative_only_left_of_its_minimum():
    swish = ut.activation("swish")
    low, high = -1.278465, -1.278464  # the root of 1 + x(1 − σ(x)), between these
    assert swish.derivative(low) < 0 < swish.derivative(high)
    assert (swish.derivative(X[(high < X) & (X < 0)]) > 0).all()
    assert (swish.derivative(X[low > X]) < 0).all()
    assert traits(swish).lowest == pytest.approx(-0.0998393, abs=1e-7)


def test_swish_revives_a_unit_that_is_dead_with_relu():
    """A unit that receives about −3 for every sample: ReLU gives its weights no gradient at all."""
    gradients = {}
    for name in ("relu", "swish"):
        torch.manual_seed(0)
        weight, bias = (0.01 * torch.randn(64, 64)).requires_grad_(), torch.full((64,), -3.0)
        y = ut.activation(name)(F.linear(batch()[0], weight, bias))
        gradients[name] = torch.autograd.grad(y.sum(), weight)[0].abs().max().item()
    assert gradients["relu"] == 0
    assert gradients["swish"] > 1e-3


# 3: vanishing and exploding


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_backward_value_vanishes_with_depth(name):
    shares = [left(name, depth) for depth in DEPTHS]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < {"sigmoid": 1e-15, "tanh": 1e-4}[name]
    assert [f.kind for f in examine(net(name, 20)).findings] == ["vanishing"]


def test_derivatives_below_1_do_not_shrink_the_backward_value_where_the_weights_make_up_for_them():
    """Vanishing is the whole product: tanh's slopes multiply to 4e-7 here, and the backward value grows."""
    ledger = examine(net("tanh", 20, 2 * HE)).ledger
    assert ledger.total("activation") < 1e-6
    assert ledger.end_to_end > 100


def test_backward_value_is_multiplied_by_the_weights():
    """The ledger's factor of a layer is rms(Wᵀδ)/rms(δ), with torch's weight of shape (outputs, inputs)."""
    model, (x, y) = net("tanh", 3), batch()
    hidden = [x]
    for module in model:
        hidden.append(module(hidden[-1]))
    deltas = torch.autograd.grad(F.cross_entropy(hidden[-1], y), hidden[1:])
    ledger = examine(model).ledger
    for index in (2, 4, 6):
        layer, delta = model[index], deltas[index]
        assert isinstance(layer, nn.Linear)
        expected = (delta @ layer.weight).square().mean().sqrt() / delta.square().mean().sqrt()
        assert ledger[str(index)].weights == pytest.approx(expected.item(), rel=1e-5)


def test_large_weights_explode():
    grown = [left("relu", depth, 2 * HE) for depth in DEPTHS]
    assert grown == sorted(grown)
    assert grown[-1] > 1e5
    finding = examine(net("relu", 20, 2 * HE)).findings[0]
    assert (finding.kind, finding.cause) == ("exploding", "weights")


# 4: the appendix


def test_variants_of_relu_exist():
    above, below = torch.tensor([0.5, 2.0]), torch.tensor([-2.0])
    for name in ("leaky_relu", "prelu", "elu"):
        act = ut.activation(name)
        assert torch.equal(act(above), above)
        assert act.derivative(below).item() > 0  # what each adds to ReLU
    assert any(p.requires_grad for p in ut.activation("prelu").layer().parameters())


def test_frelu_is_the_larger_of_x_and_its_window():
    layer, x = ut.activation("frelu").layer(channels=3), torch.randn(2, 3, 8, 8)
    assert isinstance(layer, FunnelReLU)
    window = layer.eval().definition.condition(x)
    torch.testing.assert_close(layer(x), torch.maximum(x, window))


def test_softmax_stands_inside_attention_too():
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(8, 5, 16, generator=generator), torch.randint(0, 4, (8,), generator=generator)
    ledger = ut.examine(Attention(), data, F.cross_entropy).ledger
    entry = next(e for e in ledger if e.site.operation == "softmax")
    assert entry.site.effect == "activation"
    assert entry.on_path
    assert entry.site != ledger.path[-1].site  # it is not the output


def test_relu_prevents_vanishing_with_the_initialisation_that_matches_it():
    assert left("relu", 20, HE) > 0.5
    assert left("sigmoid", 20, HE) < 1e-9


def test_relu_derivative_of_0_or_1_alone_does_not_keep_the_size():
    """Half of the derivatives are 0: the rms factor is near √½ a layer, and He's gain √2 makes up for it."""
    plain = examine(net("relu", 20)).ledger
    assert plain.mean("activation") == pytest.approx(math.sqrt(0.5), abs=0.03)
    assert plain.end_to_end < 1e-6
    matched = examine(net("relu", 20, HE)).ledger
    assert matched.mean("activation") * matched.mean("weights") == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_batch_norm_keeps_inputs_out_of_the_saturated_region(name):
    without, with_norm = flat(net(name, 20, 4.0)), flat(net(name, 20, 4.0, batch_norm=True))
    assert with_norm < without / 10
    assert with_norm < 0.05


def test_batch_norm_prevents_vanishing():
    assert left("sigmoid", 20) < 1e-15
    assert left("sigmoid", 20, batch_norm=True) > 0.1


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_matched_initialisation_prevents_vanishing(name):
    model = net(name, 20)
    before = examine(model).ledger.end_to_end
    ut.init.match_(model)
    assert before < 1e-5
    assert examine(model).ledger.end_to_end > 5e-3


def test_small_initial_weights_keep_tanh_out_of_the_saturated_region():
    assert flat(net("tanh", 20, 4.0)) > 0.5
    assert flat(net("tanh", 20, ut.gain("tanh"))) < 0.2


def test_clipping_bounds_the_norm_that_the_optimizer_receives():
    free, clipped = train(lambda p: torch.optim.SGD(p, 0.1)), train(lambda p: torch.optim.SGD(p, 0.1), clip=1.0)
    assert not math.isfinite(free.norms[-1])
    assert free.norms[0] > 1e4
    assert max(clipped.norms) <= 1 + 1e-5
    assert all(map(math.isfinite, clipped.losses))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop])
def test_adaptive_optimizers_tame_exploding_at_a_suitable_rate(optimizer):
    tamed = train(lambda p: optimizer(p, 0.01))
    assert all(map(math.isfinite, tamed.norms))
    assert tamed.losses[-1] < tamed.losses[0] / 100
    assert tamed.norms[-1] < tamed.norms[0] / 10


def test_an_adaptive_optimizer_at_an_unsuitable_rate_does_not():
    loose = train(lambda p: torch.optim.RMSprop(p, 0.1))
    assert max(loose.norms) > 1e6 * loose.norms[0]


def test_relu_alone_does_not_prevent_exploding():
    assert left("relu", 20, 2 * HE) > 1e5
    run = train(lambda p: torch.optim.SGD(p, 0.01))
    assert not math.isfinite(run.norms[-1])
    assert run.findings[0].kind == "exploding"


# 5: the conclusion


def test_an_activation_lets_a_net_learn_what_a_linear_one_cannot():
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    losses = {}
    for name in ("identity", "tanh"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 8), ut.activation(name).layer(), nn.Linear(8, 1))
        optimizer, loss = torch.optim.Adam(model.parameters(), 0.05), torch.tensor(0.0)
        for _ in range(200):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        losses[name] = loss.item()
    assert losses["identity"] > 0.2499  # the best line through XOR leaves exactly 1/4
    assert losses["tanh"] < 1e-3
