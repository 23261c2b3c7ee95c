"""Attention with its projections in one call, as nn.MultiheadAttention makes it: tokens first, samples second."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from undertow.theory.laws.attention import Heads, Letters, reach
from undertow.theory.laws.base import Call, Law, is_signal, law, mean_square
from undertow.theory.laws.linear import Linear
from undertow.theory.signal import Delta, Layout, Signal

NAMES = [
    "query",
    "key",
    "value",
    "embed_dim_to_check",
    "num_heads",
    "in_proj_weight",
    "in_proj_bias",
    "bias_k",
    "bias_v",
    "add_zero_attn",
    "dropout_p",
    "out_proj_weight",
    "out_proj_bias",
    "training",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "use_separate_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
    "static_k",
    "static_v",
    "average_attn_weights",
    "is_causal",
]


@law("multi_head_attention_forward")
@dataclass(frozen=True)
class MultiHead(Law):
    """y = W_o · heads(W_q x, W_k x′, W_v x″) + b: `linear` and `attention`, one after the other.

    Vaswani et al. (2017), arXiv:1706.03762.
    """

    projections: tuple[Linear, Linear, Linear] = field(kw_only=True)
    out: Linear = field(kw_only=True)
    heads: Heads = field(kw_only=True)
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        given = {name: call.argument(i, name) for i, name in enumerate(NAMES)}
        signals = [given[name] for name in ("query", "key", "value")]
        added = any(given[name] is not None for name in ("bias_k", "bias_v", "static_k", "static_v"))
        if call.output or added or given["add_zero_attn"] or not all(map(is_signal, signals)):
            return None
        shapes = [call.given[s.index] for s in signals]
        heads, width, n = int(given["num_heads"]), int(given["embed_dim_to_check"]), shapes[0][0]
        keys, weights, bias = shapes[1][0], _weights(given), given["in_proj_bias"]
        biases = bias.chunk(3) if isinstance(bias, Tensor) else (None, None, None)
        projections = tuple(_linear(shape[:-1], w, b) for shape, w, b in zip(shapes, weights, biases, strict=True))
        batch = "B" if len(call.shape) == 3 else ""
        sizes = {"B": call.shape[-2], "H": heads, "i": n, "j": keys, "d": width // heads}
        letters = Letters(
            f"i{batch}Hd", f"j{batch}Hd", f"j{batch}Hd", f"{batch}Hij", f"i{batch}Hd", sizes, width // heads
        )
        dropout = float(given["dropout_p"]) if given["training"] is not False else 0.0
        return cls(
            call.shape,
            projections=projections,  # pyright: ignore[reportArgumentType]  # three, by strict zip
            out=_linear(shapes[0][:-1], given["out_proj_weight"], given["out_proj_bias"]),
            heads=Heads(letters, heads / width, dropout, reach(_mask(given, heads), False, n, keys)),
        )

    def forward(self, *inputs: Signal) -> Signal:
        return self.out.forward(self._joined(self.heads.forward(*self._apart(inputs))))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        q, k, v = self._apart(inputs)
        y = self._joined(self.heads.forward(q, k, v))
        (of_heads,) = self.out.backward(delta, output, y)
        assert of_heads is not None
        handed = self.heads.backward(of_heads, q, k, v)
        return tuple(
            linear.backward(share, made, x)[0] if share is not None else None
            for linear, share, made, x in zip(self.projections, handed, (q, k, v), inputs, strict=True)
        )

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        return self.heads.flags(*self._apart(inputs))

    def _apart(self, inputs: tuple[Signal, ...]) -> tuple[Signal, Signal, Signal]:
        """Queries, keys and values with their heads on an axis of their own."""
        heads = self.heads.letters.sizes["H"]
        q, k, v = (p.forward(x) for p, x in zip(self.projections, inputs, strict=True))
        return _split(q, heads), _split(k, heads), _split(v, heads)

    def _joined(self, y: Signal) -> Signal:
        return replace(y, layout=Layout(self.out.shape, y.layout.roles[:-1]))


@law("multi_head_attention_forward")
@dataclass(frozen=True)
class MeanWeights(Law):
    """The weights of the attention, the mean over its heads: near 1/n each.  What comes back by them is left out."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        return cls(call.shape) if call.output == 1 else None

    def forward(self, *inputs: Signal) -> Signal:
        ones = torch.ones(1, 1, 1, dtype=torch.float64)
        even = 1 / self.shape[-1]
        return Signal(Layout(self.shape, "SPPP"[: len(self.shape)]), ones * even**2, ones * even, normal=False)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return tuple(None for _ in inputs)


def _weights(given: dict[str, Any]) -> tuple[Tensor, ...]:
    if given["use_separate_proj_weight"]:
        return given["q_proj_weight"], given["k_proj_weight"], given["v_proj_weight"]
    return given["in_proj_weight"].chunk(3)


def _linear(places: tuple[int, ...], weight: Tensor, bias: Tensor | None) -> Linear:
    fan_out, fan_in = weight.shape
    return Linear((*places, fan_out), fan_in, fan_out, mean_square(weight), mean_square(bias))


def _split(x: Signal, heads: int) -> Signal:
    *places, width = x.layout.shape
    return replace(x, layout=Layout((*places, heads, width // heads), x.layout.roles + "F"))


def _mask(given: dict[str, Any], heads: int) -> Tensor | None:
    """What is added to the scores; True hides a key here."""
    mask, padding = given["attn_mask"], given["key_padding_mask"]
    found = _bias(mask) if isinstance(mask, Tensor) else None
    if found is not None and found.ndim == 3:
        found = found.unflatten(0, (-1, heads))
    if not isinstance(padding, Tensor):
        return found
    hidden = _bias(padding).unsqueeze(-2)
    hidden = hidden.unsqueeze(1) if hidden.ndim == 3 else hidden
    return hidden if found is None else hidden + found


def _bias(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape).masked_fill(mask, float("-inf")) if mask.dtype == torch.bool else mask.float()
