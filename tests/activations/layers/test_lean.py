"""ut.lean: the same losses and gradients to the last bit, with less kept, and back again."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from lean_pairs import gradients, kept_bytes, same
from torch import nn
from torch.nn.utils import parametrizations

import undertow as ut
from undertow.activations import recognise
from undertow.foundation import InputError, ModelError, language


class Block(nn.Module):
    """A transformer's MLP with a functional call, as nanoGPT writes it."""

    def __init__(self, width=16):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.proj(F.gelu(self.fc(self.norm(x)), approximate="tanh"))


class Residual(nn.Module):
    """A residual block that uses one activation module twice, and the block's input twice."""

    def __init__(self, channels=6):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.act = nn.SiLU()

    def forward(self, x):
        y = self.act(self.norms[0](self.first(x)))
        return self.act(x + self.norms[1](self.second(y)))


class Gated(nn.Module):
    """A Llama's MLP."""

    def __init__(self, width=16):
        super().__init__()
        self.gate, self.up = nn.Linear(width, 40), nn.Linear(width, 40)
        self.down = nn.Linear(40, width)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


def convnet():
    head = (nn.AdaptiveAvgPool2d(2), nn.Hardswish(), nn.Flatten(), nn.Linear(24, 5))
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Mish(), nn.Conv2d(6, 6, 1), Residual(), Residual(), *head)


def mlp():
    layers = [m for _ in range(5) for m in (nn.Linear(16, 16), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(16, 4))


MODELS = {
    "mlp": (mlp, (32, 16)),
    "transformer mlp": (lambda: nn.Sequential(Block(), Block()), (4, 8, 16)),
    "convnet": (convnet, (4, 3, 10, 10)),
    "gated": (lambda: nn.Sequential(Gated(), Gated()), (4, 8, 16)),
    "transposed": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.ELU(), nn.ConvTranspose1d(4, 3, 3, stride=2)),
        (4, 3, 9),
    ),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_same_to_the_last_bit_with_less_kept_and_back(make, shape):
    model, x = make(), torch.randn(shape)
    before = {id(m): type(m) for m in model.modules()}
    names, parameters = list(model.state_dict()), list(model.parameters())
    plain = copy.deepcopy(model)
    expected = [gradients(plain, x, autocast) for autocast in (False, True)]
    held = kept_bytes(plain(x), plain)
    account = ut.lean(model)
    assert all(same(gradients(model, x, cast), e) for cast, e in zip((False, True), expected, strict=True))
    spared = held - kept_bytes(model(x), model)
    assert spared == account.spared > 0
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    account.undo()
    assert {id(m): type(m) for m in model.modules()} == before
    assert kept_bytes(model(x), model) == held
    assert not account.changed


def test_how_much_is_spared():
    x = torch.randn(64, 16)
    model = mlp()
    total = kept_bytes(model(x), model)
    account = ut.lean(model)
    assert kept_bytes(model(x), model) == total - 5 * x.nbytes == 6 * x.nbytes
    assert account.inputs == 6 * x.nbytes


def test_ours_and_learned_activations_too():
    learned = ut.activations.Swish(beta=1.2).layer(trainable=True)
    model = nn.Sequential(
        nn.Linear(16, 16), learned, nn.Linear(16, 16), ut.activation("silu").layer(), nn.Linear(16, 3)
    )
    x = torch.randn(8, 16)
    expected = gradients(model, x)
    account = ut.lean(model)
    assert same(gradients(model, x), expected)
    assert account.spared == 2 * x.nbytes


def test_what_is_not_spared_is_said():
    model = nn.ModuleDict(
        {
            "first": nn.Linear(4, 4),
            "relu": nn.Linear(4, 4),
            "changed": nn.Linear(4, 4),
            "padded": nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular"),
            "attention": nn.MultiheadAttention(4, 1),
            "weight_norm": parametrizations.weight_norm(nn.Linear(4, 4)),
        }
    )
    account = ut.lean(model)
    assert set(account.left) == {"padded", "attention.out_proj", "weight_norm"}
    assert "print this again" in str(account)
    x = torch.randn(2, 4)
    model["changed"](F.silu(model["relu"](torch.relu(model["first"](x)))).mul_(2))
    assert account.spared == 0
    text = str(account)
    assert "32 bytes of relu kept" in text
    assert "32 bytes of mul kept" in text
    assert "first: 32 bytes kept, an input that takes no gradient" in text
    with language("ko"):
        assert "32바이트를 보관" in str(account)


def test_twice_is_said_and_a_changed_class_is_not_undone():
    model = mlp()
    account = ut.lean(model)
    again = ut.lean(model)
    assert not again.changed
    assert set(again.left) == set(account.changed)
    parametrizations.weight_norm(model[2])
    with pytest.raises(InputError, match="something changed its class"):
        account.undo()
    with pytest.raises(ModelError, match="list"):
        ut.lean([model])


def test_lean_models_are_copied_pickled_and_recognised():
    model = mlp()
    ut.lean(model)
    x = torch.randn(3, 16)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(m) for m in other] == [type(m) for m in model]
        assert same(gradients(other, x), gradients(model, x))
    assert isinstance(model[0], nn.Linear)
    assert recognise(model[0]) is None


def test_hugging_face_blocks():
    transformers = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
    gpt2 = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, activation_function="gelu")
    llama = transformers.LlamaConfig(**tiny, intermediate_size=40)
    for config in (gpt2, llama):
        model = transformers.AutoModelForCausalLM.from_config(config).eval()  # no dropout
        tokens = torch.randint(0, 40, (2, 8))

        def run(model=model, tokens=tokens):
            model.zero_grad()
            loss = model(input_ids=tokens, labels=tokens).loss
            held = kept_bytes(loss, model)
            loss.backward()
            return [loss.detach(), *(p.grad.clone() for p in model.parameters())], held

        expected, before = run()
        account = ut.lean(model)
        found, after = run()
        assert same(found, expected)
        assert before - after == account.spared > 0
