"""Language and vision transformers as their library builds them: read without a bridge, and near the ledger."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow as ut

transformers = pytest.importorskip("transformers")
SMALL = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
WORDS = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def build(family: str, attention: str) -> tuple[nn.Module, dict[str, Tensor]]:
    t, ids = transformers, torch.randint(3, 300, (4, 24))
    how: dict[str, Any] = {"attn_implementation": attention}
    if family == "gpt2":
        config = t.GPT2Config(n_layer=2, n_embd=64, n_head=4, **WORDS, **how)
        return t.GPT2LMHeadModel(config), {"input_ids": ids, "labels": ids}
    if family == "llama":
        config = t.LlamaConfig(num_key_value_heads=2, **SMALL, **WORDS, **how)
        return t.LlamaForCausalLM(config), {"input_ids": ids, "labels": ids}
    if family == "bert":
        return t.BertModel(t.BertConfig(**SMALL, **WORDS, **how), add_pooling_layer=False), {"input_ids": ids}
    if family == "vit":
        config = t.ViTConfig(image_size=32, patch_size=8, **SMALL, **how)
        return t.ViTModel(config, add_pooling_layer=False), {"pixel_values": torch.randn(8, 3, 32, 32)}
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    config = t.T5Config(**sizes, decoder_start_token_id=0, **WORDS, **how)
    return t.T5ForConditionalGeneration(config), {"input_ids": ids, "labels": ids}


def total(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    made = model(**batch)
    if getattr(made, "loss", None) is not None:
        return made.loss
    state = made.last_hidden_state
    return (state * torch.randn(state.shape, generator=torch.Generator().manual_seed(1))).sum()


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "vit", "t5"])
def test_a_family_is_read_whole_and_forecast_near_its_ledger(family: str, attention: str) -> None:
    torch.manual_seed(0)
    model, batch = build(family, attention)
    model.train()
    forecast = ut.forecast(model, batch)
    assert not [s.site.name for s in forecast.sites if "bridged" in s.flags]
    ledger = {e.site.name: e for e in ut.examine(model, batch, total).ledger.entries}
    common = [(s, ledger[s.site.name]) for s in forecast.sites if s.site.name in ledger]
    common = [(s, e) for s, e in common if e.forward_rms < 1e30]  # scores with the numbers of a mask in them
    last, ending = common[-1]
    forward = [abs(math.log(s.forward_rms / e.forward_rms)) for s, e in common]
    scale = ending.backward_rms / last.backward_rms
    backward = [abs(math.log(s.backward_rms * scale / e.backward_rms)) for s, e in common]
    assert len(common) > 20
    assert statistics.median(forward) < 0.05
    assert statistics.median(backward) < 0.25
