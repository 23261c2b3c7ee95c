"""Several tensors side by side: cat and stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from undertow.theory.laws.base import Call, Law, Slot, law
from undertow.theory.laws.positions import full
from undertow.theory.signal import Delta, Layout, Pairs, Signal, measured


@law("cat", "concat", "concatenate", "stack")
@dataclass(frozen=True)
class Joined(Law):
    """y holds the values of several tensors:  E[y²] is their mean over units, their maps one after the other over
    positions; each gets back its part of δ.

    Two places of different parts have E[x] E[x′] in common.
    """

    axis: int = field(kw_only=True)
    new: bool = field(kw_only=True)
    """Whether the axis is new: stack."""
    parts: tuple[tuple[int, int | Tensor], ...] = field(kw_only=True, repr=False, compare=False)
    """Per part its length along the axis, and the place of the input or the constant that it is."""
    effect = "branching"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        tensors = call.argument(0, "tensors")
        dim = call.argument(1, "dim", call.kwargs.get("axis", 0))
        if not isinstance(tensors, tuple | list) or not isinstance(dim, int):
            return None
        axis, new = dim % len(call.shape), call.operation == "stack"
        parts = []
        for t in tensors:
            if isinstance(t, Tensor) and t.numel() == 0:
                continue  # a cache of keys, to start with
            shape = call.given[t.index] if isinstance(t, Slot) else tuple(t.shape)
            if len(shape) + new != len(call.shape):
                return None
            parts.append((1 if new else shape[axis], t.index if isinstance(t, Slot) else t.detach()))
        return cls(call.shape, axis=axis, new=new, parts=tuple(parts))

    def forward(self, *inputs: Signal) -> Signal:
        first = inputs[0]
        layout = self._layout(first.layout)
        parts = [p if isinstance(p, Signal) else _constant(p, first.layout) for p in self._signals(inputs)]
        sizes, role = [n for n, _ in self.parts], layout.roles[self.axis]
        pairs = Pairs(*(_mean(list(ps), sizes) for ps in zip(*(s.pairs for s in parts), strict=True)))
        if role == "P":
            pairs = self._across(parts, sizes, pairs)
        return replace(
            first,
            layout=layout,
            square=self._joined([s.square for s in parts], layout, sizes),
            mean=self._joined([s.mean for s in parts], layout, sizes),
            pairs=pairs,
            normal=all(s.normal for s in parts),
            drawn=None,
            spread=_mean([s.spread for s in inputs], [1] * len(inputs)),
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        found: list[Delta | None] = []
        for index, x in enumerate(inputs):
            start = next(i for i, (_, p) in enumerate(self.parts) if isinstance(p, int) and p == index)
            found.append(self._part(delta, output.layout, start, x))
        return tuple(found)

    def _part(self, delta: Delta, layout: Layout, part: int, x: Signal) -> Delta:
        if layout.roles[self.axis] != "P":
            return replace(delta, lean=None)
        place = 1 + self._place(layout)
        if delta.square.shape[place] == 1:
            square = delta.square
        else:
            start = sum(n for n, _ in self.parts[:part])
            square = delta.square.narrow(place, start, self.parts[part][0])
        return replace(delta, square=square.squeeze(place) if self.new else square, lean=None)

    def _signals(self, inputs: Sequence[Signal]) -> list[Signal | Tensor]:
        return [inputs[p] if isinstance(p, int) else p for _, p in self.parts]

    def _layout(self, source: Layout) -> Layout:
        if not self.new:
            return source.of(self.shape)
        fine = source.apart
        return Layout(self.shape, fine.roles[: self.axis] + "P" + fine.roles[self.axis :])

    def _place(self, layout: Layout) -> int:
        """Which of the positions the axis is."""
        return len(layout.merged) + layout.roles[: self.axis].count("P")

    def _joined(self, maps: list[Tensor], layout: Layout, sizes: list[int]) -> Tensor:
        role = layout.roles[self.axis]
        groups = max(m.shape[0] for m in maps)
        if role == "S" or any(m.shape[0] not in (1, groups) for m in maps):
            maps = [m.mean(0, keepdim=True) for m in maps]
        if role != "P":
            shares = [m * n for m, n in zip(maps, sizes, strict=True)]
            return torch.as_tensor(sum(torch.broadcast_tensors(*shares))) / sum(sizes)
        place = self._place(layout)
        if self.new:
            maps = [m.unsqueeze(1 + place) for m in maps]
        wanted = list(layout.positions)
        spread_out = []
        for m, n in zip(maps, sizes, strict=True):
            wanted[place] = n
            spread_out.append(full(m.expand(groups if role == "P" else 1, *m.shape[1:]), tuple(wanted)))
        return torch.cat(spread_out, 1 + place)

    def _across(self, parts: list[Signal], sizes: list[int], pairs: Pairs) -> Pairs:
        """Of two positions: within one part as there, else the product of the means."""
        total = sum(sizes)
        means = [s.middle for s in parts]
        others = sum(m * n for m, n in zip(means, sizes, strict=True)) ** 2
        others -= sum((m * n) ** 2 for m, n in zip(means, sizes, strict=True))
        count = total * (total - 1)
        if not count:
            return pairs
        inside = [n * (n - 1) for n in sizes]
        positions = sum(s.pairs.positions * k for s, k in zip(parts, inside, strict=True)) + others
        both = sum(s.pairs.both * k for s, k in zip(parts, inside, strict=True)) + others
        return Pairs(pairs.samples, positions / count, both / count)


def _constant(value: Tensor, like: Layout) -> Signal:
    """A constant beside signals: its axes mean what theirs do; it is the same for all samples."""
    found = measured(value, like.roles)
    size = found.size
    both = found.pairs.positions
    found = replace(found, square=found.square.mean(0, keepdim=True), mean=found.mean.mean(0, keepdim=True))
    return replace(found, pairs=Pairs(size, both, both))


def _mean(values: list[float], weights: list[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / max(sum(weights), 1)
