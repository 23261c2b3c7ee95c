"""nn.MultiheadAttention with queries and keys of length 1; its source is also what a patch shows."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormalisedAttention(nn.MultiheadAttention):
    """softmax(√d · q̂ k̂ᵀ) v for each head, q̂ and k̂ of length 1: no logit is beyond ±√d, d the size of a head."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        single = query.dim() == 2
        if single:
            query, key, value = (t.unsqueeze(0 if self.batch_first else 1) for t in (query, key, value))
        if not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        q, k, v = (self._heads(t, i) for i, t in enumerate((query, key, value)))
        logits = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * math.sqrt(self.head_dim)
        if attn_mask is not None:
            mask = _additive(attn_mask, logits.dtype)
            logits = logits + (mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask)
        elif is_causal:
            future = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
            logits = logits.masked_fill(future, -math.inf)
        if key_padding_mask is not None:
            padding = key_padding_mask.unsqueeze(0) if single else key_padding_mask
            logits = logits + _additive(padding, logits.dtype)[:, None, None, :]
        weights = F.dropout(logits.softmax(-1), self.dropout, self.training)
        output = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        if not self.batch_first:
            output = output.transpose(0, 1)
        if single:
            output = output.squeeze(0 if self.batch_first else 1)
        if not need_weights:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights.squeeze(0) if single else weights

    def _heads(self, x: Tensor, index: int) -> Tensor:
        """Queries, keys or values, the first, second or last third of the rows of the packed weight."""
        rows = slice(index * self.embed_dim, (index + 1) * self.embed_dim)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        return F.linear(x, self.in_proj_weight[rows], bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a boolean mask is False and -∞ where it is True; a mask of numbers as it is."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)


def normalise_attention(model: nn.Module, names: list[str]) -> None:
    """Gives these layers normalised queries and keys; their weights stay."""
    for name in names:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.MultiheadAttention)
        layer.__class__ = NormalisedAttention
        layer._qkv_same_embed_dim = False  # torch's fused inference, which knows nothing of this, asks for it
