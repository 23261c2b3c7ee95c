"""Rows 11 to 15, 17 and 18: the architectures of Hugging Face transformers, two small layers of each, never trained."""

from __future__ import annotations

from typing import Any

import torch
from rows import Setting, counting, row
from torch import Tensor, nn

SIZE, WIDTH = 32, 32
SDPA = "fused attention: its softmax is not observable"


def transformers() -> Any:
    import transformers

    return transformers


def training(model: nn.Module, loss: Any, steps: int = 12) -> Setting:
    """AdamW at the usual rate of a small model, in training mode."""
    model.train()
    return Setting(model, torch.optim.AdamW(model.parameters(), 3e-3), loss, steps)


def causal(config: Any) -> Setting:
    """A decoder on sequences that count; the model computes its own loss."""
    model = transformers().AutoModelForCausalLM.from_config(config)
    batches = counting(SIZE, 4, 16, 12)
    return training(model, lambda k: model(input_ids=batches[k], labels=batches[k]).loss)


def sizes(**more: Any) -> dict[str, Any]:
    """What most configurations call their sizes."""
    return {
        "vocab_size": SIZE,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "pad_token_id": None,  # its row is zero, which a normalisation by the row's rms blows up, and we would say so
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | more


@row(11, "GPT-2, tied", activations={"gelu_tanh": 2}, not_observed=[SDPA], needs="transformers", fast=True)
def gpt2() -> Setting:
    return causal(
        transformers().GPT2Config(
            vocab_size=SIZE, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2
        )
    )


@row(11, "GPT-NeoX", activations={"gelu": 2}, not_observed=[SDPA], needs="transformers")
def gpt_neox() -> Setting:
    return causal(transformers().GPTNeoXConfig(**sizes()))


@row(12, "Llama (SwiGLU)", activations={"swish": 2}, not_observed=[SDPA], needs="transformers")
def llama() -> Setting:
    return causal(transformers().LlamaConfig(**sizes()))


@row(12, "Qwen3 (SwiGLU)", activations={"swish": 2}, not_observed=[SDPA], needs="transformers")
def qwen3() -> Setting:
    return causal(transformers().Qwen3Config(**sizes(head_dim=16)))


@row(
    12,
    "Gemma 2 (GeGLU, soft caps)",
    activations={"gelu_tanh": 2, "tanh": 3, "softmax": 2},
    needs="transformers",
)
def gemma2() -> Setting:
    return causal(transformers().Gemma2Config(**sizes(head_dim=16)))


@row(13, "Mixtral, experts", activations={"swish": 2, "softmax": 2}, not_observed=[SDPA], needs="transformers")
def mixtral() -> Setting:
    return causal(transformers().MixtralConfig(**sizes(num_local_experts=4, num_experts_per_tok=2)))


@row(14, "T5", activations={"relu": 4}, not_observed=[SDPA], needs="transformers")
def t5() -> Setting:
    config = transformers().T5Config(
        vocab_size=SIZE, d_model=WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    model = transformers().T5ForConditionalGeneration(config)
    batches = counting(SIZE, 4, 12, 12)
    return training(model, lambda k: model(input_ids=batches[k], labels=batches[k].flip(1)).loss)


@row(15, "BERT, frozen encoder and a head", activations={"tanh": 1}, needs="transformers")
def bert_frozen() -> Setting:
    config = transformers().BertConfig(**sizes(), num_labels=4)
    model = transformers().BertForSequenceClassification(config)
    model.bert.embeddings.requires_grad_(False)
    model.bert.encoder.requires_grad_(False)
    batches = counting(SIZE, 8, 12, 12)
    return training(model, lambda k: model(input_ids=batches[k], labels=batches[k][:, 0] % 4).loss)


@row(15, "BERT, all of it", activations={"gelu": 2, "tanh": 1}, not_observed=[SDPA], needs="transformers")
def bert() -> Setting:
    config = transformers().BertConfig(**sizes(), num_labels=4)
    model = transformers().BertForSequenceClassification(config)
    batches = counting(SIZE, 8, 12, 12)
    return training(model, lambda k: model(input_ids=batches[k], labels=batches[k][:, 0] % 4).loss)


@row(17, "Mamba", activations={"swish": 4, "softplus": 2, "exponential": 2}, needs="transformers")
def mamba() -> Setting:
    return causal(
        transformers().MambaConfig(
            vocab_size=SIZE, hidden_size=WIDTH, state_size=4, num_hidden_layers=2, pad_token_id=None, eos_token_id=2
        )
    )


@row(18, "Wav2Vec2 with CTC", activations={"gelu": 6, "log_softmax": 1}, not_observed=[SDPA], needs="transformers")
def wav2vec2() -> Setting:
    config = transformers().Wav2Vec2Config(
        **sizes(vocab_size=8, pad_token_id=0),
        conv_dim=(16, 16, 16),
        conv_stride=(5, 2, 2),
        conv_kernel=(10, 3, 3),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
        layerdrop=0.0,
        ctc_loss_reduction="mean",
    )
    model = transformers().Wav2Vec2ForCTC(config)
    generator = torch.Generator().manual_seed(0)
    pairs: list[tuple[Tensor, Tensor]] = [
        (torch.randn(2, 1600, generator=generator), torch.randint(1, 8, (2, 5), generator=generator)) for _ in range(12)
    ]
    return training(model, lambda k: model(pairs[k][0], labels=pairs[k][1]).loss)
