"""Each cure on small networks: a copy is changed, the original is not, and the printed lines do the same."""

import copy
import re

import pytest
import torch
from cure_nets import Named, cnn, lstm, mlp, nested, rnn, training
from torch import nn

from undertow.cures import Cure, NotApplicableError, Training, all_cures, chosen
from undertow.cures.surgery.exchange import Exchange
from undertow.cures.surgery.residual import blocks, keeps_shape
from undertow.cures.surgery.swap import Swap
from undertow.cures.trials.loop import clip
from undertow.foundation import InputError, UnknownNameError, knows, language

CURES = [pytest.param(cure, id=cure.label) for cure in all_cures()]
SWAPS = {cure.name: type(cure.layer()) for cure in all_cures() if isinstance(cure, Swap)}
SHAPES = {cnn: (2, 6, 6), rnn: (5, 6), lstm: (5, 6)}
NETS = [mlp, nested, Named, cnn, rnn, lstm]
DRAWING = {*SWAPS, "matched_init", "orthogonal_init", "orthogonal_recurrence", "gated_recurrence", "wider", "frelu"}
DRAWING |= {"chrono_init"}
EVERYWHERE = {"adam", "adamw", "rmsprop", "momentum", "weight_decay", "learning_rate"}
EVERYWHERE |= {"clip_norm", "clip_value", "adaptive_clip", "z_clip", "standardise"}
CHAIN = {*SWAPS, "matched_init", "orthogonal_init", "batch_norm", "layer_norm", "rms_norm"}
CHAIN |= {"zero_bias", "wider", "revive"}
RECURRENT = {"orthogonal_recurrence", "gated_recurrence", "forget_bias"}


def one(name: str) -> Cure:
    return chosen([name])[0]


def fresh(make) -> Training:
    torch.manual_seed(0)
    return training(make(), shape=SHAPES.get(make, (6,)))


PAIRS = [
    pytest.param(cure, make, id=f"{cure.label}-{make.__name__}")
    for make in NETS
    for cure in all_cures()
    if cure.applies(fresh(make)) is None
]


def kinds(model: nn.Module) -> list[str]:
    return [type(m).__name__ for m in model.modules() if not list(m.children())]


@pytest.mark.parametrize(("cure", "make"), PAIRS)
def test_a_cure_changes_a_copy_and_nothing_else(cure: Cure, make):
    given = fresh(make)
    before, groups = copy.deepcopy(given.model.state_dict()), copy.deepcopy(given.optimizer.state_dict())
    text, generator = repr(given.model), torch.get_rng_state()
    cured = cure.apply(given)
    assert repr(given.model) == text
    assert given.optimizer.state_dict() == groups
    assert all(torch.equal(before[name], value) for name, value in given.model.state_dict().items())
    assert given.clip is None
    assert given.model.training
    assert not {id(p) for p in cured.model.parameters()} & {id(p) for p in given.model.parameters()}
    held = [p for group in cured.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in cured.model.parameters()}
    assert len(held) == len(set(held))
    if cure.name not in DRAWING:
        assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(("cure", "make"), PAIRS)
def test_the_patch_does_what_apply_does(cure: Cure, make):
    given = fresh(make)
    torch.manual_seed(1)
    cured = cure.apply(given)
    by_hand = fresh(make)
    torch.manual_seed(1)
    space = {"model": by_hand.model, "optimizer": by_hand.optimizer, "batches": by_hand.batches}
    if cured.clip:  # which must find a gradient
        for each in (cured.model, by_hand.model):
            each(given.batches[0][0]).square().sum().mul(1e3).backward()  # pyright: ignore[reportIndexIssue]
    exec(compile(cure.patch(by_hand), "patch", "exec"), space)
    assert kinds(cured.model) == kinds(by_hand.model)
    x = given.batches[0][0]  # pyright: ignore[reportIndexIssue]
    by_hand.clip, by_hand.scheduler = space.get("clip"), space.get("scheduler")
    clip(cured)
    clip(by_hand)
    if cured.clip:
        pairs = zip(cured.model.parameters(), by_hand.model.parameters(), strict=True)
        assert all(torch.equal(a.grad, b.grad) for a, b in pairs)
    assert torch.equal(cured.model(x), by_hand.model(x))
    if isinstance(cure, Exchange) or cure.name in ("learning_rate", "momentum", "weight_decay", "warm_up"):
        assert repr(space["optimizer"]) == repr(cured.optimizer)
    assert repr(type(by_hand.scheduler)) == repr(type(cured.scheduler))


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (mlp, {*CHAIN, "residual"}),
        (Named, CHAIN - {"tanh"}),
        (rnn, RECURRENT - {"forget_bias"}),
        (lstm, RECURRENT - {"gated_recurrence"}),
    ],
)
def test_a_network_is_given_what_is_for_it(make, given):
    refused = {cure.name: reason for cure in all_cures() if (reason := cure.applies(fresh(make)))}
    assert not {*given, *EVERYWHERE} & set(refused)
    assert (CHAIN | RECURRENT) - given - {"tanh", "zero_bias"} <= set(refused)
    assert all(reason.strip() for reason in refused.values())


@pytest.mark.parametrize("name", SWAPS)
def test_a_swap_replaces_every_hidden_activation(name: str):
    assert kinds(one(name).apply(fresh(nested)).model).count(SWAPS[name].__name__) == 2
    assert kinds(one(name).apply(fresh(Named)).model) == [
        "Linear",
        SWAPS[name].__name__,
        "Linear",
        SWAPS[name].__name__,
        "Linear",
    ]


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(1), nn.Tanh(), nn.Sequential(nn.Sigmoid(), nn.Flatten())])
def test_the_activation_that_the_loss_needs_stays(end: nn.Module):
    given = training(nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), end))
    cured = one("relu").apply(given)
    assert kinds(cured.model)[3:] == kinds(end)
    assert kinds(cured.model)[1] == "ReLU"
    by_hand = training(nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), end))
    exec(one("relu").patch(by_hand), {"model": by_hand.model})
    assert kinds(by_hand.model) == kinds(cured.model)


def test_an_end_that_weights_of_the_model_itself_follow_is_hidden():
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.act, self.down = nn.Linear(6, 8), nn.Sigmoid(), nn.Parameter(torch.randn(8, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.up(x)) @ self.down

    assert kinds(one("relu").apply(training(Raw())).model) == ["Linear", "ReLU"]


def test_a_module_used_in_several_places_is_swapped_once_and_gets_no_norm():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.act = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3), nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.act(self.b(self.act(self.a(x)))))

    given = training(Shared())
    assert kinds(one("relu").apply(given).model).count("ReLU") == 1
    reason = one("batch_norm").applies(given)
    assert reason is not None
    assert "act is called 2 times" in reason


def test_a_functional_model_without_source_is_refused_with_the_reason():
    space = {"nn": nn, "torch": torch}
    exec(
        "class Typed(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.up, self.head = nn.Linear(6, 8), nn.Linear(8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.head(torch.sigmoid(self.up(x)))\n",
        space,
    )
    given = training(space["Typed"]())  # pyright: ignore[reportCallIssue]
    for name in SWAPS:
        reason = one(name).applies(given)
        assert reason is not None
        assert "the model calls sigmoid in forward" in reason
        with pytest.raises(NotApplicableError, match="calls sigmoid in forward"):
            one(name).apply(given)


def test_what_is_there_already_is_refused():
    assert "ReLU() already" in str(one("relu").applies(training(mlp(nn.ReLU))))
    assert one("leaky_relu").applies(training(mlp(nn.ReLU))) is None
    model = mlp()
    assert "Adam" in str(one("rmsprop").applies(training(model, optimizer=torch.optim.Adam(model.parameters()))))
    assert "clipped at 0.5" in str(one("clip_norm").applies(training(mlp(), clip=0.5)))
    normed = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
    assert "follows a normalisation" in str(one("batch_norm").applies(training(normed)))


def test_batch_norm_fits_the_tensors():
    model = one("batch_norm").apply(fresh(cnn)).model
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == [4, 5]  # one stood there, one is new
    tokens = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    assert "second dimension" in str(one("batch_norm").applies(training(tokens)))


def test_parameters_keep_their_group_and_new_ones_join_their_neighbours():
    model = mlp(nn.PReLU)
    slow, fast = list(model[:2].parameters()), list(model[2:].parameters())
    groups = [{"params": slow, "lr": 0.01}, {"params": fast, "weight_decay": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    given = training(model, optimizer=optimizer)
    normed = one("batch_norm").apply(given)
    first, second = normed.optimizer.param_groups
    assert (first["lr"], second["lr"], second["weight_decay"], first["momentum"]) == (0.01, 0.1, 0.1, 0.9)
    assert (len(first["params"]), len(second["params"])) == (3 + 2, len(fast) + 4)
    assert any(p is normed.model.get_parameter("1.0.weight") for p in first["params"])
    swapped = one("relu").apply(given).optimizer.param_groups
    assert [len(group["params"]) for group in swapped] == [2, len(fast) - 2]
    adam = one("adam").apply(given).optimizer.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in adam] == [(1e-3, 0.0), (pytest.approx(1e-2), 0.1)]
    space = {"model": model, "optimizer": optimizer}
    exec(one("adam").patch(given), space)
    assert repr(space["optimizer"]) == repr(one("adam").apply(given).optimizer)


def test_state_of_the_optimizer_goes_with_its_parameters():
    given = training(mlp(), optimizer=None)
    given.optimizer = torch.optim.SGD(given.model.parameters(), lr=0.1, momentum=0.9)
    given.model(torch.randn(4, 6)).sum().backward()
    given.optimizer.step()
    kept = one("batch_norm").apply(given)
    weight = kept.model.get_parameter("0.weight")
    assert torch.equal(
        kept.optimizer.state[weight]["momentum_buffer"],
        given.optimizer.state[given.model.get_parameter("0.weight")]["momentum_buffer"],
    )
    assert not one("relu").apply(given).optimizer.state


def test_a_loss_that_holds_the_model_is_refused():
    model = mlp()

    def loss(output, target):
        return nn.functional.cross_entropy(output, target) + sum(p.square().sum() for p in model.parameters())

    with pytest.raises(InputError, match=r"takes the model of make\(seed\) from outside.*def loss\(model, batch\)"):
        one("adam").apply(training(model, loss=loss))


def test_a_clip_or_metric_that_holds_the_model_is_refused():
    model = mlp()
    given = training(model, clip=lambda parameters: nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    with pytest.raises(InputError, match=r"def clip\(parameters\)"):
        one("adam").apply(given)
    with pytest.raises(InputError, match=r"def metric\(model\)"):
        one("adam").apply(training(model, metric=lambda other: model[0].weight.sum().item()))


def test_a_model_that_cannot_be_copied_is_refused():
    model = mlp()
    model.remembered = model(torch.randn(2, 6))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="cannot be copied"):
        one("adam").apply(training(model))


@pytest.mark.parametrize("code", ["en", "ko"])
@pytest.mark.parametrize("cure", CURES)
def test_every_cure_explains_itself(cure: Cure, code: str):
    with language(code):
        assert knows(f"cures.{cure.name}.title")
        assert cure.title
        assert cure.why
        assert "{" not in cure.title + cure.why
    doc = type(cure).__doc__ or ""
    assert all(part in doc for part in ("When:", "Why:", "Not:", "Source:"))
    assert re.search(rf"\({cure.reference.year}\)", doc)
    assert (cure.reference.arxiv or "") in doc


def test_cures_are_found_by_name_and_label():
    assert [c.label for c in chosen(["lr", "Leaky-ReLU"])] == ["learning_rate ×0.1", "learning_rate ×10", "leaky_relu"]
    assert [c.label for c in chosen("learning_rate ×10")] == ["learning_rate ×10"]
    with pytest.raises(UnknownNameError, match="'leaky_relu'"):
        chosen(["leaky_rleu"])
    with pytest.raises(InputError, match="more than once"):
        chosen(["relu", "relu"])
    with pytest.raises(InputError, match="a name or a Cure"):
        chosen([3])  # pyright: ignore[reportArgumentType]


def test_clipping_bounds_the_gradient():
    def largest(name: str) -> Training:
        cured = one(name).apply(training(mlp(nn.ReLU)))
        cured.model(torch.full((4, 6), 1e3)).square().sum().backward()
        clip(cured)
        return cured

    assert max(p.grad.abs().max() for p in largest("clip_value").model.parameters()) == 0.5
    weights = [p for p in largest("adaptive_clip").model.parameters() if p.dim() > 1]
    assert all((p.grad.norm(dim=1) <= 0.01 * p.norm(dim=1).clamp(min=1e-3) * (1 + 1e-5)).all() for p in weights)
    assert "by a function of its own" in str(one("clip_norm").applies(largest("adaptive_clip")))


@pytest.mark.parametrize(
    ("end", "opened"), [(nn.ReLU(), True), (nn.Softplus(), True), (nn.Sigmoid(), False), (nn.Softmax(1), False)]
)
def test_an_output_is_opened_where_an_activation_cuts_it_off(end: nn.Module, opened: bool):
    given = training(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), end))
    cure = one("linear_output")
    assert (cure.applies(given) is None) == opened
    if opened:
        assert kinds(cure.apply(given).model) == ["Linear", "ReLU", "Linear", "Identity"]
        exec(cure.patch(given), {"model": given.model})
        assert kinds(given.model) == ["Linear", "ReLU", "Linear", "Identity"]


def test_skips_go_around_the_layers_of_one_width():
    model = nn.Sequential(
        *(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()),
        nn.Linear(8, 3),
    )
    assert blocks(model) == [["2", "3", "4"], ["5", "6"]]
    x = torch.randn(4, 6)
    first = model[:2](x)
    second = first + model[2:5](first) / 2**0.5
    expected = model[7](second + model[5:7](second) / 2**0.5)
    torch.testing.assert_close(one("residual").apply(training(model)).model(x), expected)


def test_inputs_are_standardised_and_what_is_missing_becomes_the_mean():
    given = training(mlp())
    x = torch.randn(500, 6) * torch.tensor([1e3, 1.0, 1e-2, 5.0, 0.0, 1.0]) + torch.tensor([0, 1e3, 0, 0, 7.0, 0])
    x[:50, 5] = torch.nan
    given.batches = [(x, torch.zeros(500, dtype=torch.long))]
    seen = []
    model = one("standardise").apply(given).model
    model[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(x)
    mean, std = seen[0].mean(0), seen[0].std(0)
    assert mean.abs().max() < 1e-4
    assert std[:4].tolist() == pytest.approx([1, 1, 1, 1], rel=0.02)
    assert (seen[0][:50, 5] == 0).all()
    assert (seen[0][:, 4] == 0).all()


def test_a_layer_that_changes_the_shape_gets_no_skip():
    assert keeps_shape(nn.Conv2d(4, 4, 3, padding=1))
    assert keeps_shape(nn.Conv2d(4, 4, 5, padding="same"))
    assert not keeps_shape(nn.Conv2d(4, 4, 3))
    assert not keeps_shape(nn.Conv2d(4, 4, 3, padding=1, stride=2))
    assert not keeps_shape(nn.Linear(4, 5))
    assert not keeps_shape(nn.ConvTranspose2d(4, 4, 3, padding=1))
