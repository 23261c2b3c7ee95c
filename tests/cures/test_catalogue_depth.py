"""Cures for dead units, narrow layers, residual branches, transformers and spikes: what exactly they change."""

import pytest
import torch
import torch.nn.functional as F
from cure_nets import mlp, training
from torch import Tensor, nn
from zoo import ZOO, Blocks, Encoder, convolutions, trained

from undertow.cures import Cure, Training, chosen
from undertow.cures.surgery.branches import Branch, branches
from undertow.cures.surgery.clipping import SpikeClip
from undertow.cures.surgery.widening import widths
from undertow.cures.training import batches_afresh
from undertow.cures.trials.loop import loop
from undertow.cures.trials.trial import run


def one(name: str) -> Cure:
    return chosen([name])[0]


def firing(model: nn.Sequential, x: Tensor) -> Tensor:
    """The share of samples for which each unit of the first layer fires."""
    return (model[1](model[0](x)) > 0).float().mean(0)


def dying() -> Training:
    """Six of the eight first units are dead, and so are all of the second."""
    torch.manual_seed(0)
    model = mlp(nn.ReLU, 2)
    with torch.no_grad():
        model[0].bias[:6] = -50.0
        model[2].bias.fill_(-50.0)
    return training(model, batches=12)


def test_dead_units_come_back_and_the_living_stay():
    given = dying()
    revived = one("revive").apply(given)
    batches = list(batches_afresh(given))
    first, model = given.model[0], revived.model
    assert loop(revived, batches[:4], []) == ""
    assert torch.equal(model[0].weight[:6], first.weight[:6])  # not before the fourth batch is over
    assert loop(revived, batches[4:5], []) == ""
    x = batches[4][0]
    assert ((firing(model, x)[:6] - 0.5).abs() < 0.2).all()
    assert (firing(model[2:], model[:2](x)) > 0.2).all()
    assert (model[0].weight[6:] - first.weight[6:]).abs().max() < 0.1
    assert all((model[i].weight.grad.abs().sum(1) > 0).all() for i in (0, 2))
    assert given.model[0]._forward_hooks == {}


def test_averages_of_revived_weights_are_forgotten():
    given = dying()
    given.optimizer = torch.optim.Adam(given.model.parameters(), lr=1e-3)
    revived = one("revive").apply(given)
    for p in revived.model.parameters():
        revived.optimizer.state[p] = {
            "step": torch.tensor(1.0),
            "exp_avg": torch.full_like(p, 1e6),
            "exp_avg_sq": torch.full_like(p, 1e12),
        }
    batches = list(batches_afresh(given))
    assert loop(revived, batches[:5], []) == ""
    state = revived.optimizer.state[revived.model[0].weight]
    assert state["exp_avg"][:6].abs().max() < 1e3
    assert state["exp_avg"][6:].abs().min() > 1e5


def test_evaluation_revives_nothing():
    revived = one("revive").apply(dying())
    before = revived.model[0].weight.clone()
    revived.model.eval()
    for x, _ in batches_afresh(revived):
        revived.model(x)
    assert torch.equal(before, revived.model[0].weight)


@pytest.mark.parametrize("act", [nn.GELU, nn.LeakyReLU, nn.ELU])
def test_units_that_cannot_die_are_not_watched(act: type[nn.Module]):
    assert (one("revive").applies(training(mlp(act))) is None) == (act in (nn.GELU, nn.ELU))


def test_the_hidden_layers_of_a_chain_are_wider_and_nothing_else():
    given = training(mlp(nn.ReLU))
    wide = one("wider").apply(given).model
    shapes = [tuple(m.weight.shape) for m in wide if isinstance(m, nn.Linear)]
    assert shapes == [(32, 6), (32, 32), (32, 32), (3, 32)]
    assert [m.weight.std() for m in wide if isinstance(m, nn.Linear)][1].item() == pytest.approx(
        (2 / 32) ** 0.5, rel=0.1
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_channels_are_wider_up_to_what_splits_them(n: int):
    model = convolutions(n)
    assert widths(model).outputs == {"0": 4}  # the grouped convolution keeps its input, and so its output
    model[5] = getattr(nn, f"Conv{n}d")(4, 4, 3, padding=1)
    assert widths(model).outputs == {"0": 4, "2": 4, "5": 4}
    assert widths(model).between == ("3",)
    wide = one("wider").apply(trained(model, 2, *[6] * n)).model
    assert [wide[3].num_features, wide[3].running_mean.shape, wide[9].in_features] == [16, (16,), 16]


def test_a_stream_is_as_wide_as_its_branches():
    model = Blocks()
    found = widths(model)
    assert set(found.outputs) == {"stem", "first.0", "first.2", "second.2"}
    assert set(found.inputs) == {"first.0", "first.2", "second.2", "out"}
    assert set(found.between) == {"second.0", "second.3"}

    class Open(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(F.relu(self.up(x)))

    assert set(widths(Open()).outputs) == {"up"}


@pytest.mark.parametrize("name", ["tied", "shared", "parametrized", "lstm", "transformer"])
def test_a_width_that_is_shared_or_held_elsewhere_stays(name: str):
    found = widths(ZOO[name]().model).outputs
    assert set(found) <= {"tied": set(), "shared": set(), "parametrized": {"2"}}.get(name, set())


def test_wide_layers_stay():
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    assert "32 units" in str(one("wider").applies(training(model)))


def test_residual_branches_are_found():
    assert branches(Blocks())[0] == [Branch("first.0", "first.2"), Branch("", "second.3")]
    tails = [branch.tail for branch in branches(Encoder())[0]]
    assert tails == [f"body.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn.out_proj", "linear2")]
    assert branches(mlp()) == ([], "")


def test_branches_begin_smaller():
    given = trained(Blocks(), 2, 6, 6)
    small = one("residual_scale").apply(given).model
    for name in ("first.2.weight", "first.2.bias", "second.3.weight"):
        torch.testing.assert_close(small.get_parameter(name), given.model.get_parameter(name) / 2)
    assert torch.equal(small.get_parameter("first.0.weight"), given.model.get_parameter("first.0.weight"))


def test_a_branch_without_a_norm_gets_one_at_its_head():
    model = one("block_norm").apply(trained(Blocks(), 2, 6, 6)).model
    assert isinstance(model.get_submodule("first.0.0"), nn.GroupNorm)
    assert isinstance(model.get_submodule("first.0.1"), nn.Conv2d)
    assert isinstance(model.get_submodule("second.0"), nn.BatchNorm2d)
    assert one("block_norm").applies(Training(model, *_others())) is not None


def _others():
    given = trained(Blocks(), 2, 6, 6)
    return given.optimizer, given.loss, given.batches


def test_norms_of_transformers_come_first_and_once_at_the_end():
    given = trained(Encoder(), 5, 8)
    model = one("pre_norm").apply(given).model
    by_hand = Encoder(norm_first=True)
    by_hand.load_state_dict(given.model.state_dict())
    by_hand.body.norm = nn.LayerNorm(8)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(model(x), by_hand(x))
    assert not given.model.body.layers[0].norm_first
    assert one("pre_norm").applies(trained(Encoder(norm_first=True), 5, 8)) is not None


@pytest.mark.parametrize(("name", "flag"), [("gelu", 2), ("elu", 0)])
def test_a_function_that_is_an_attribute_is_swapped(name: str, flag: int):
    given = trained(Encoder(), 5, 8)
    model = one(name).apply(given).model
    assert all(type(layer.activation) is type(one(name).layer()) for layer in model.body.layers)
    assert all(layer.activation_relu_or_gelu == flag for layer in model.body.layers)
    assert given.model.body.layers[0].activation is F.relu
    torch.manual_seed(3)
    cured = one(name).apply(given).model
    torch.manual_seed(3)
    exec(one(name).patch(given), {"model": given.model})
    x = torch.randn(3, 5, 8)
    assert torch.equal(given.model(x), cured(x))
    with torch.no_grad():  # torch's fused path for evaluation
        torch.testing.assert_close(model.eval()(x), model.train()(x))


def test_a_spike_is_clipped_to_the_range_before_it():
    clip, p = SpikeClip(settle=4), nn.Parameter(torch.zeros(3))

    def given(norm: float) -> float:
        p.grad = torch.tensor([norm, 0.0, 0.0])
        clip([p])
        return float(p.grad.norm())

    assert [given(n) for n in (1.0, 3.0, 1.0, 3.0)] == [1.0, 3.0, 1.0, 3.0]
    assert (clip.mean, clip.variance) == (2.0, 1.0)
    assert given(4.5) == 4.5  # z = 2.5
    mean, spread = clip.mean, clip.variance**0.5
    assert given(100.0) == pytest.approx(mean + 2.5**2 * spread**2 / (100 - mean), rel=1e-5)
    assert given(float("inf")) == 0.0
    assert clip.mean < 3


def test_weights_decay_as_the_optimizer_does_it():
    sgd = one("weight_decay").apply(training(mlp())).optimizer
    assert sgd.param_groups[0]["weight_decay"] == 5e-4
    model = mlp()
    adam = one("weight_decay").apply(training(model, optimizer=torch.optim.Adam(model.parameters(), lr=0.1)))
    weight = adam.model[0].weight
    before = weight.detach().clone()
    for p in adam.model.parameters():
        p.grad = torch.zeros_like(p)
    adam.optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 0.1 * 0.01))
    assert one("weight_decay").applies(training(model, optimizer=torch.optim.AdamW(model.parameters()))) is not None
    assert one("weight_decay").applies(training(model, optimizer=torch.optim.Rprop(model.parameters()))) is not None


def test_funnels_stand_behind_convolutions_alone():
    model = one("frelu").apply(ZOO["conv2d"]()).model
    assert [type(m).__name__ for m in model][:7] == [
        "Conv2d",
        "FunnelReLU",
        "Conv2d",
        "BatchNorm2d",
        "FunnelReLU",
        "Conv2d",
        "FunnelReLU",
    ]
    assert one("frelu").applies(ZOO["conv1d"]()) is not None


def accuracy_after(make, name: str | None) -> float:
    torch.manual_seed(0)
    given = make()
    return run(given, None, cure=one(name) if name else None, diagnose=False).metric


def ring(model: nn.Module, *, lr: float, spikes: bool = False) -> Training:
    """In a circle or outside it, by 120 batches; with `spikes` every 37th is a thousand times as large."""
    g = torch.Generator().manual_seed(2)
    x = torch.randn(120, 32, 2, generator=g)
    y = (x.square().sum(-1) > 1.4).long()
    seen = x * torch.where(torch.arange(120) % 37 == 36, 1000.0, 1.0)[:, None, None] if spikes else x
    metric = lambda m: float((m(x[:20].flatten(0, 1)).argmax(1) == y[:20].flatten()).float().mean())  # noqa: E731
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return Training(model, optimizer, F.cross_entropy, list(zip(seen, y, strict=True)), metric=metric)


def narrow() -> Training:
    layers = [part for i in range(12) for part in (nn.Linear(4 if i else 2, 4), nn.ReLU())]
    return ring(nn.Sequential(*layers, nn.Linear(4, 2)), lr=0.02)


def silenced() -> Training:
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    nn.init.constant_(model[2].bias, -50.0)
    return ring(model, lr=0.05)


def spiky() -> Training:
    return ring(nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2)), lr=0.2, spikes=True)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "name"), [(narrow, "wider"), (silenced, "revive"), (spiky, "z_clip")])
def test_what_a_cure_is_for_trains_with_it_alone(make, name: str):
    assert accuracy_after(make, None) < 0.75
    assert accuracy_after(make, name) > 0.85
