"""Cures of attention: written out, fused, and torch's own layer."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
import written_nets
from cure_nets import mlp, training
from torch import nn

from undertow.cures import Cure, Training, chosen
from undertow.cures.surgery.qk_norm import NormalisedAttention, normalise_attention


def one(name: str) -> Cure:
    return chosen([name])[0]


def tokens(model: nn.Module) -> Training:
    return training(model, shape=(5, 6))


def given(net: str) -> Training:
    torch.manual_seed(0)
    return tokens(getattr(written_nets, net)())


@pytest.mark.parametrize(
    ("net", "name", "edits"),
    [
        ("Attention", "scaled_attention", ["q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5"]),
        ("Scaled", "scaled_attention", []),
        ("Fused", "scaled_attention", []),
        ("Attention", "qk_norm", ["F.normalize(q, dim=-1) @ F.normalize(k.transpose(-2, -1), dim=-2) * 8"]),
        ("Scaled", "qk_norm", ["(F.normalize(q, dim=-1) @ F.normalize(k.transpose(-2, -1), dim=-2) * 64)"]),
        (
            "Fused",
            "qk_norm",
            ["F.normalize(self.query(h), dim=-1) * 8", "F.normalize(self.key(h), dim=-1) * 8"],
        ),
    ],
)
def test_what_is_written_in_its_place(net: str, name: str, edits: list[str]):
    case = given(net)
    assert [e.new for e in one(name).edits(case)] == edits
    assert (one(name).applies(case) is None) == bool(edits)


@pytest.mark.parametrize("net", ["Attention", "Scaled", "Fused"])
def test_normalised_logits_are_cosines_times_the_root_of_d(net: str):
    case = given(net)
    cured = one("qk_norm").apply(case)
    model, x = cured.model, case.batches[0][0]  # pyright: ignore[reportIndexIssue]
    h = model.embed(x)
    q, k = (F.normalize(layer(h), dim=-1) for layer in (model.query, model.key))
    weights = (q @ k.transpose(-2, -1) * math.sqrt(64)).softmax(-1)
    torch.testing.assert_close(model(x), model.out((h + weights @ model.value(h)).mean(1)))


def test_a_scaled_attention_is_the_one_of_the_paper():
    case, scaled = given("Attention"), written_nets.Scaled()
    scaled.load_state_dict(case.model.state_dict())
    x = case.batches[0][0]  # pyright: ignore[reportIndexIssue]
    torch.testing.assert_close(one("scaled_attention").apply(case).model(x), scaled(x))


def reference(layer: nn.MultiheadAttention, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The formula, head by head."""
    q, k, v = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    d, heads = layer.head_dim, []
    for i in range(layer.num_heads):
        part = slice(i * d, (i + 1) * d)
        logits = F.cosine_similarity(q[:, :, None, part], k[:, None, :, part], dim=-1) * math.sqrt(d)
        logits = logits if mask is None else logits.masked_fill(mask, -math.inf)
        heads.append(logits.softmax(-1) @ v[..., part])
    return layer.out_proj(torch.cat(heads, -1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_the_layer_of_torch_with_normalised_queries(bias: bool, first: bool):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, bias=bias, batch_first=first)
    plain, x = copy.deepcopy(layer), torch.randn(3, 5, 8)
    holder = nn.ModuleDict({"attention": layer})
    normalise_attention(holder, ["attention"])
    assert isinstance(layer, NormalisedAttention)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for mask in (None, causal):
        given = x if first else x.transpose(0, 1)
        output, weights = layer(given, given, given, attn_mask=mask)
        torch.testing.assert_close(output if first else output.transpose(0, 1), reference(layer, x, mask))
        _, shape_like = plain(given, given, given, attn_mask=mask)
        assert weights.shape == shape_like.shape
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5))
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[:, 3:] = True
    given = x if first else x.transpose(0, 1)
    short = x[:, :3] if first else x[:, :3].transpose(0, 1)
    padded, _ = layer(given, given, given, key_padding_mask=padding, need_weights=False)
    alone, _ = layer(given, short, short)
    torch.testing.assert_close(padded, alone)
    row, _ = layer(x[0], x[0], x[0])
    torch.testing.assert_close(row, reference(layer, x[:1], None)[0])
    assert layer(given, given, given, average_attn_weights=False)[1].shape == (3, 2, 5, 5)
    causal_by_flag, _ = layer(given, given, given, is_causal=True)
    torch.testing.assert_close(causal_by_flag if first else causal_by_flag.transpose(0, 1), reference(layer, x, causal))


def test_a_transformer_does_the_same_in_evaluation_and_in_training():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    model = nn.Sequential(nn.Linear(6, 8), nn.TransformerEncoder(block, 2), nn.Flatten(), nn.Linear(40, 3))
    case = tokens(model)
    cured = one("qk_norm").apply(case)
    assert sum(isinstance(m, NormalisedAttention) for m in cured.model.modules()) == 2
    x = case.batches[0][0]  # pyright: ignore[reportIndexIssue]
    trained = cured.model(x)
    with torch.no_grad():
        torch.testing.assert_close(cured.model.eval()(x), trained)
    assert not torch.allclose(case.model(x), trained)
    exec(compile(one("qk_norm").patch(case), "patch", "exec"), {"model": case.model, "__name__": "patched"})
    torch.testing.assert_close(case.model(x), trained)


def test_a_model_without_attention_is_refused():
    assert "no nn.MultiheadAttention" in str(one("qk_norm").applies(training(mlp())))
    assert one("scaled_attention").applies(training(mlp())) is not None
