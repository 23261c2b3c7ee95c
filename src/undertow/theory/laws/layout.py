"""Operations that move or choose values: views, permutations, slices, flattening, copies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch.utils._pytree import tree_leaves

from undertow.record.operations import PLUMBING
from undertow.theory.laws.base import Call, Law, Slot, law
from undertow.theory.laws.origins import Origins, origins_of
from undertow.theory.laws.way import Way, way
from undertow.theory.signal import Delta, Layout, Signal

CHOOSING = (
    "getitem",
    "chunk",
    "split",
    "split_with_sizes",
    "select",
    "narrow",
    "unbind",
    "expand",
    "expand_as",
    "broadcast_to",
    "repeat",
    "repeat_interleave",
    "tile",
    "tensor_split",
    "index_select",
    "diagonal",
    "unfold",
    "channel_shuffle",
)
SAME = {"clone", "to", "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda", "alias", "detach"}
"""Copies, perhaps in another format, each value in its place."""


@law(*PLUMBING, *CHOOSING)
@dataclass(frozen=True)
class Moved(Law):
    """Each value of y is one of x; x gets back the sum of what y's copies of it get, and 0 where none was taken."""

    origins: Origins = field(kw_only=True)
    cut: bool = False
    """detach: nothing comes back."""
    known: dict[Layout, Way] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, call: Call) -> Law | None:
        signals = sum(isinstance(a, Slot) for a in tree_leaves((call.args, dict(call.kwargs))))
        if len(call.given) != 1 or signals != 1:
            return None
        origins = origins_of(call, call.operation in SAME)
        return None if origins is None else cls(call.shape, origins=origins, cut=call.operation == "detach")

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        to = self._way(x.layout)
        return replace(x, layout=to.layout, square=to.place(x.square), mean=to.place(x.mean), pairs=to.pairs(x.pairs))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        if self.cut:
            return (None,)
        to, square = self._way(inputs[0].layout), delta.square
        copies = self.origins.copies(output.layout.roles)
        for role, product in (("S", delta.pairs.samples), ("P", delta.pairs.positions)):
            square = square + (copies[role] - 1) * product
        share = math.prod(self.shape) / max(math.prod(self.origins.source), 1)
        return (replace(delta, square=to.hand_back(square, share), pairs=to.pairs_back(delta.pairs)),)

    def _way(self, source: Layout) -> Way:
        if source not in self.known:
            self.known[source] = way(self.origins, source)
        return self.known[source]
