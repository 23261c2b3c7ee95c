"""Attention in one call: its scores, their softmax and the sum of the values, one law after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from undertow.theory.attending import Attends, Causal, Reach, narrower, reach_of
from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.laws.contraction import Contraction
from undertow.theory.laws.dropout import Dropout
from undertow.theory.laws.labels import Labels
from undertow.theory.laws.softmax import Softmax
from undertow.theory.signal import Delta, Signal


@law("scaled_dot_product_attention")
@dataclass(frozen=True)
class Attention(Law):
    """y = softmax(c q kᵀ + mask) v; c² changes the scores' size.

    Vaswani et al. (2017), arXiv:1706.03762; its signal at initialisation: Noci et al. (2022), arXiv:2206.03126.
    """

    queries: int = field(kw_only=True)
    keys: int = field(kw_only=True)
    given: tuple[tuple[int, ...], ...] = field(kw_only=True)
    scale: float = field(kw_only=True)
    """c²"""
    dropout: float = 0.0
    reach: Reach | None = None
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        q, k, v = (call.argument(i, name) for i, name in enumerate(("query", "key", "value")))
        mask = call.argument(3, "attn_mask")
        if not (is_signal(q) and is_signal(k) and is_signal(v)) or is_signal(mask):
            return None
        given = tuple(call.given[slot.index] for slot in (q, k, v))
        queries, keys = given[0][-2], given[1][-2]
        scale = call.kwargs.get("scale")
        return cls(
            call.shape,
            queries=queries,
            keys=keys,
            given=given,
            scale=1 / given[0][-1] if scale is None else float(scale) ** 2,
            dropout=float(call.argument(4, "dropout_p", 0.0)),
            reach=reach(mask, bool(call.argument(5, "is_causal", False)), queries, keys),
        )

    def forward(self, *inputs: Signal) -> Signal:
        return self._steps(inputs)[-1][1]

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (scores, z), (softmax, a), (dropout, kept), (values, y) = self._steps(inputs)
        q, k, v = inputs
        of_weights, to_v = values.backward(delta, y, kept, v)
        assert of_weights is not None
        (of_softmax,) = dropout.backward(of_weights, kept, a)
        assert of_softmax is not None
        (of_scores,) = softmax.backward(of_softmax, a, z)
        assert of_scores is not None
        return (*scores.backward(of_scores.scaled(self.scale), z, q, k), to_v)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        (_, z), (softmax, _), *_ = self._steps(inputs)
        return softmax.flags(z)

    def _steps(self, inputs: tuple[Signal, ...]) -> list[tuple[Law, Signal]]:
        q, k, v = inputs
        shape = (*self.shape[:-2], self.queries, self.keys)
        batch = "".join(chr(ord("A") + i) for i in range(len(shape) - 2))
        sizes = dict(zip(batch, shape, strict=False)) | {"i": self.queries, "j": self.keys}
        units, values = {"d": self.given[0][-1]}, {"d": self.given[2][-1]}
        scores = Contraction(shape, labels=Labels(batch + "id", batch + "jd", batch + "ij", sizes | units))
        product = scores.forward(q, k)
        attends = product.attends or Attends(self.queries, self.keys)
        z = replace(product.scaled(self.scale), attends=attends._replace(reach=self.reach))
        softmax, dropout = Softmax(shape, keys=self.keys, axis=len(shape) - 1), Dropout(shape, self.dropout)
        a = softmax.forward(z)
        kept = dropout.forward(a)
        mixed = Contraction(self.shape, labels=Labels(batch + "ij", batch + "jd", batch + "id", sizes | values))
        return [(scores, z), (softmax, a), (dropout, kept), (mixed, mixed.forward(kept, v))]


def reach(mask: Any, causal: bool, queries: int, keys: int) -> Reach | None:
    """None where each query sees each key."""
    found = reach_of(mask, queries, keys) if isinstance(mask, Tensor) else None
    return narrower(Causal(keys), found) if causal and queries == keys else found
