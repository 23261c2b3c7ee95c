"""Another activation in a whole model: what is replaced, what is listed, and the way back."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import undertow as ut
from undertow.activations import ActivationLayer, activation, recognise, swap
from undertow.activations.recognition.alike import POINTS
from undertow.foundation import InputError, UnknownNameError, language


class OwnSwish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.up, self.act, self.gate = nn.Linear(4, 4), act, OwnSwish()

    def forward(self, x):
        return F.relu(self.gate(self.act(self.up(x))))


class Net(nn.Module):
    """Two blocks that share one ReLU, and a head with its own."""

    def __init__(self):
        super().__init__()
        shared = nn.ReLU()
        self.blocks = nn.ModuleList([Block(shared), Block(shared)])
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.Linear(4, 2))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.head(x))


X = torch.linspace(-2, 2, 20).reshape(5, 4)


def test_modules_are_replaced_and_functions_listed():
    net = Net()
    account = swap(net, "relu", "silu")
    assert [p.path for p in account.replaced] == ["blocks.0.act", "blocks.1.act", "head.1"]
    assert all(isinstance(net.get_submodule(p.path), ActivationLayer) for p in account.replaced)
    assert net.blocks[0].act is net.blocks[1].act
    assert [(c.path, c.definition.name) for c in account.functional] == [("blocks.0", "relu"), ("blocks.1", "relu")]
    assert all(c.where.startswith("test_swap.py:") for c in account.functional)
    assert account.unseen == ()
    assert recognise(net.head[2]) == activation("leaky_relu", slope=0.2)


def test_the_swapped_model_computes_with_the_new_function():
    torch.manual_seed(0)
    net = Net()
    expected = X
    for block in net.blocks:
        expected = F.relu(block.gate(F.silu(block.up(expected))))
    expected = net.head[3](F.leaky_relu(F.silu(net.head[0](expected)), 0.2)).tanh()
    swap(net, "relu", "silu")
    assert torch.allclose(net(X), expected, rtol=1e-5, atol=1e-6)


def test_undo_brings_back_the_same_modules():
    net = Net()
    before, state = dict(net.named_modules(remove_duplicate=False)), net.state_dict().keys()
    account = swap(net, "*", "prelu")
    assert net.state_dict().keys() > state
    net.eval()
    account.undo()
    after = dict(net.named_modules(remove_duplicate=False))
    assert after.keys() == before.keys()
    assert all(after[path] is module for path, module in before.items())
    assert not any(m.training for m in net.modules())


def test_undo_after_another_change_is_refused():
    net = Net()
    account = swap(net, "relu", "silu")
    net.head[1] = nn.Tanh()
    with pytest.raises(InputError, match=r"'head.1'"):
        account.undo()
    assert isinstance(net.blocks[0].act, ActivationLayer)


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("leaky_relu", ["head.2"]),
        (activation("leaky_relu", slope=0.2), ["head.2"]),
        ("silu", ["blocks.0.gate", "blocks.1.gate"]),
        ("swish", ["blocks.0.gate", "blocks.1.gate"]),
        ("*", ["blocks.0.act", "blocks.0.gate", "blocks.1.act", "blocks.1.gate", "head.1", "head.2"]),
        (None, ["blocks.0.act", "blocks.0.gate", "blocks.1.act", "blocks.1.gate", "head.1", "head.2"]),
    ],
)
def test_which_activations_a_source_means(source, places):
    assert [p.path for p in swap(Net(), source, "elu").replaced] == places


def test_all_does_not_mean_softmax_identity_or_the_target():
    net = nn.Sequential(nn.Linear(2, 2), nn.Identity(), nn.Tanh(), nn.SiLU(), nn.Softmax(-1))
    assert [p.path for p in swap(net, "*", "silu").replaced] == ["2"]
    assert [p.path for p in swap(net, "softmax", "sigmoid").replaced] == ["4"]


def test_mode_dtype_and_device_follow_the_old_module():
    net = Net().double().eval()
    net.head[1].train()
    account = swap(net, "relu", "prelu", channels=4)
    assert [p.new.training for p in account.replaced] == [False, False, True]
    assert all(p.new.slope.dtype == torch.float64 and p.new.slope.shape == (4,) for p in account.replaced)
    assert net(X.double()).dtype == torch.float64
    meta = Net().to("meta")
    assert swap(meta, "relu", "prelu").replaced[0].new.slope.device.type == "meta"


def test_new_parameters_train():
    net = Net()
    swap(net, "relu", "swish", trainable=True)
    net(X).square().sum().backward()
    assert net.head[1].beta.grad is not None
    assert len(list(net.parameters())) == len(list(Net().parameters())) + 2


@pytest.mark.parametrize(("source", "target"), [("relo", "silu"), ("relu", "sillu")])
def test_unknown_names_name_the_nearest(source, target):
    with pytest.raises(UnknownNameError, match=r"'relu'|'silu'"):
        swap(Net(), source, target)


def test_nothing_to_replace_says_what_there_is():
    with pytest.raises(InputError, match=r"(?s)'mish' for a model with relu × 3, .*leaky_relu\(slope=0.2\) × 1.*tanh"):
        swap(Net(), "mish", "silu")
    with pytest.raises(InputError, match=r"no activation as modules"):
        swap(nn.Linear(2, 2), "relu", "silu")
    with pytest.raises(InputError, match=r"relu × 1 as modules"):
        swap(nn.Sequential(nn.ReLU()), "relu", "relu")
    with pytest.raises(InputError, match=r"torch.nn.Module"):
        swap(F.relu, "relu", "silu")


def test_a_forward_that_cannot_be_traced_is_said_and_its_parts_are_looked_at():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.fn = Block(nn.ReLU()), F.relu

        def forward(self, x):
            return self.block(x) if x.sum() > 0 else self.fn(x)

    account = swap(Branching(), "relu", "gelu")
    assert [p.path for p in account.replaced] == ["block.act"]
    assert [(u.path, "control flow" in u.reason) for u in account.unseen] == [("", True)]
    assert [(c.path, c.where.split(":")[0]) for c in account.functional] == [("", ".fn"), ("block", "test_swap.py")]


def test_layers_of_this_package_are_swapped_inside():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), ut.nn.ActivatedLinear("relu", 4, 4), ut.nn.SwiGLU(4, 8))
    account = swap(net, "*", "gelu")
    assert [p.path for p in account.replaced] == ["1.activation", "2.activation"]
    assert account.unseen == ()
    h = net[0](X)
    assert torch.allclose(net[1](h), F.linear(F.gelu(h), net[1].weight, net[1].bias), atol=1e-6)


def test_functions_held_by_layers_of_torch_are_listed():
    net = nn.Sequential(nn.ReLU(), nn.TransformerEncoderLayer(4, 2, 8, activation="gelu"))
    assert [(c.path, c.where) for c in swap(net, "*", "silu").functional] == [("1", ".activation")]


def test_layers_of_torch_are_not_called_unseen():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.act, self.coder = nn.BatchNorm1d(4), nn.ReLU(), nn.TransformerEncoderLayer(4, 2, 8)

        def forward(self, x):
            return self.act(self.norm(x)) if x.sum() > 0 else self.coder(x)

    account = swap(Branching(), "relu", "silu")
    assert [u.path for u in account.unseen] == [""]
    assert [c.path for c in account.functional] == ["coder"]


def test_the_account_in_words():
    net = Net()
    text = str(swap(net, "relu", "silu"))
    assert "head.1: relu → swish" in text
    assert "blocks.0: relu (test_swap.py:" in text
    with language("ko"):
        assert str(swap(net, "swish", "gelu")).startswith("바꾼 곳: 5\n")


def test_a_module_that_is_the_model_itself_has_no_place_to_be_swapped_in():
    with pytest.raises(InputError, match="relu × 1 as modules"):
        swap(nn.ReLU(), "relu", "silu")


def test_a_compiled_model_is_swapped_inside():
    net = torch.compile(Net(), backend="eager")
    assert [p.path for p in swap(net, "leaky_relu", "silu").replaced] == ["_orig_mod.head.2"]


def test_a_model_of_hugging_face():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=11, n_positions=8)
    model = transformers.GPT2Model(config)
    account = ut.activations.swap(model, "gelu_new", "silu")
    assert [p.path for p in account.replaced] == ["h.0.mlp.act", "h.1.mlp.act"]
    assert account.unseen
    assert model(torch.arange(4)[None]).last_hidden_state.isfinite().all()


def test_the_page_prints_what_it_shows(capsys):
    page = Path(__file__).parents[2].joinpath("docs/recognise.md").read_text(encoding="utf-8")
    code, shown = (re.search(rf"^```{kind}\n(.*?)^```$", page, re.M | re.S)[1] for kind in ("python", "text"))
    exec(code, {"__name__": "page"})
    assert capsys.readouterr().out == shown
    assert f"{len(POINTS)} points" in page
