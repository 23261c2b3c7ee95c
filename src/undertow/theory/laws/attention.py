"""Attention in one call: its scores, their softmax and the sum of the values, one law after the other."""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from undertow.theory.attending import Attends, Causal, Reach, narrower, reach_of
from undertow.theory.laws.addition import Add
from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.laws.contraction import Contraction
from undertow.theory.laws.dropout import Dropout
from undertow.theory.laws.labels import Labels
from undertow.theory.laws.softmax import Softmax
from undertow.theory.signal import Delta, Signal


@dataclass(frozen=True)
class Letters:
    """The axes of q, k, v, the scores and the output, and how long each is: i queries, j keys, d units of a head."""

    q: str
    k: str
    v: str
    scores: str
    out: str
    sizes: dict[str, int]
    value: int
    """Units of a value."""

    def labels(self) -> tuple[Labels, Labels]:
        return (
            Labels(self.q, self.k, self.scores, self.sizes),
            Labels(self.scores, self.v, self.out, self.sizes | {"d": self.value}),
        )

    def shape(self, axes: str, **other: int) -> tuple[int, ...]:
        return tuple((self.sizes | other)[a] for a in axes)


@dataclass(frozen=True)
class Heads:
    """y = softmax(c q kᵀ + bias) v, from signals of q, k, v (and of a learnt bias) to that of y and back."""

    letters: Letters
    scale: float
    """c²"""
    dropout: float = 0.0
    reach: Reach | None = None

    def forward(self, q: Signal, k: Signal, v: Signal, *bias: Signal) -> Signal:
        return self.steps(q, k, v, *bias)[-1][1]

    def backward(self, delta: Delta, q: Signal, k: Signal, v: Signal, *bias: Signal) -> tuple[Delta | None, ...]:
        (scores, z), (softmax, a), (dropout, kept), (values, y) = self.steps(q, k, v, *bias)
        of_weights, to_v = values.backward(delta, y, kept, v)
        assert of_weights is not None
        (of_softmax,) = dropout.backward(of_weights, kept, a)
        assert of_softmax is not None
        (of_scores,) = softmax.backward(of_softmax, a, z)
        assert of_scores is not None
        to_bias = Add(self.letters.shape(self.letters.scores)).backward(of_scores, z, *bias)
        return (*scores.backward(of_scores.scaled(self.scale), z, q, k), to_v, *to_bias)

    def flags(self, q: Signal, k: Signal, v: Signal, *bias: Signal) -> tuple[str, ...]:
        (_, z), (softmax, _), *_ = self.steps(q, k, v, *bias)
        return softmax.flags(z)

    def steps(self, q: Signal, k: Signal, v: Signal, *bias: Signal) -> list[tuple[Law, Signal]]:
        letters = self.letters
        shape = letters.shape(letters.scores)
        product, sum_ = letters.labels()
        scores = Contraction(shape, labels=product)
        raw = scores.forward(q, k)
        attends = raw.attends or Attends(letters.sizes["i"], letters.sizes["j"])
        z = Add(shape).forward(replace(raw.scaled(self.scale), attends=attends._replace(reach=self.reach)), *bias)
        softmax = Softmax(shape, keys=letters.sizes["j"], axis=letters.scores.index("j"))
        dropout = Dropout(shape, self.dropout)
        a = softmax.forward(z)
        kept = dropout.forward(a)
        values = Contraction(letters.shape(letters.out, d=letters.value), labels=sum_)
        return [(scores, z), (softmax, a), (dropout, kept), (values, values.forward(kept, v))]


@law("scaled_dot_product_attention")
@dataclass(frozen=True)
class Attention(Law):
    """y = softmax(c q kᵀ + mask) v; c² changes the scores' size.

    Vaswani et al. (2017), arXiv:1706.03762; its signal at initialisation: Noci et al. (2022), arXiv:2206.03126.
    """

    heads: Heads = field(kw_only=True)
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        q, k, v = (call.argument(i, name) for i, name in enumerate(("query", "key", "value")))
        mask = call.argument(3, "attn_mask")
        if not (is_signal(q) and is_signal(k) and is_signal(v)):
            return None
        of_q, of_k, of_v = (call.given[slot.index] for slot in (q, k, v))
        queries, keys = of_q[-2], of_k[-2]
        batch = string.ascii_uppercase[: len(call.shape) - 2]
        sizes = dict(zip(batch, call.shape, strict=False)) | {"i": queries, "j": keys, "d": of_q[-1]}
        letters = Letters(batch + "id", batch + "jd", batch + "jd", batch + "ij", batch + "id", sizes, of_v[-1])
        scale = call.kwargs.get("scale")
        dropout = float(call.argument(4, "dropout_p", 0.0))
        seen = reach(mask, bool(call.argument(5, "is_causal", False)), queries, keys)
        return cls(
            call.shape, heads=Heads(letters, 1 / of_q[-1] if scale is None else float(scale) ** 2, dropout, seen)
        )

    def forward(self, *inputs: Signal) -> Signal:
        q, k, v, *bias = inputs
        return self.heads.forward(q, k, v, *bias)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        q, k, v, *bias = inputs
        return self.heads.backward(delta, q, k, v, *bias)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        q, k, v, *bias = inputs
        return self.heads.flags(q, k, v, *bias)


def reach(mask: Any, causal: bool, queries: int, keys: int) -> Reach | None:
    """None where each query sees each key."""
    found = reach_of(mask, queries, keys) if isinstance(mask, Tensor) else None
    return narrower(Causal(keys), found) if causal and queries == keys else found
