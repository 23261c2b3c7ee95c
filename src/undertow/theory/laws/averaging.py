"""Linear operations along the axes, the same for every unit: average pooling, padding, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from undertow.theory.laws.base import Call, Law, Slot, law, like
from undertow.theory.laws.positions import full
from undertow.theory.signal import Delta, Layout, Pairs, Signal

POOLS = tuple(f"{kind}avg_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))
RESIZES = ("interpolate", "upsample", "upsample_nearest", "upsample_bilinear")
MOST = 1 << 24
"""Values of the largest tensor that is made to find out what an operation does to an axis."""


@dataclass(frozen=True)
class Mixing:
    """A = A₁ ⊗ A₂ ⊗ … over axes of positions, each of shape (out, in)."""

    axes: tuple[Tensor, ...]

    @property
    def turned(self) -> Mixing:
        return Mixing(tuple(a.T for a in self.axes))

    def of(self, moments: Tensor, squared: bool = False) -> Tensor:
        """A, or A with its elements squared, of a map (groups, *in)."""
        moments = full(moments, tuple(a.shape[1] for a in self.axes))
        for place, a in enumerate(self.axes, 1):
            moments = (moments.movedim(place, -1) @ (a.square() if squared else a).T).movedim(-1, place)
        return moments

    def square(self, square: Tensor, product: float) -> Tensor:
        """E[y²] where E[x(a) x(b)] of two positions is `product`."""
        ones = torch.ones(1, *[1] * len(self.axes), dtype=torch.float64)
        return self.of(square, squared=True) + product * (self.of(ones).square() - self.of(ones, squared=True))

    def pairs(self, square: float, pairs: Pairs) -> Pairs:
        """Of y, at the mean size of x."""
        rows = [a.sum(1) for a in self.axes]
        outputs = math.prod(len(r) for r in rows)
        same = math.prod(float(a.square().sum()) for a in self.axes)
        total = math.prod(float(r.square().sum()) for r in rows)
        crossed = math.prod(float(r.sum()) ** 2 for r in rows) - total
        shared = math.prod(float(a.sum(0).square().sum()) for a in self.axes) - same
        two = outputs * (outputs - 1)

        def apart(near: float, far: float) -> float:
            return (far * crossed + (near - far) * shared) / two if two else far * total / outputs

        samples = (same * pairs.samples + (total - same) * pairs.both) / outputs
        return Pairs(samples, apart(square, pairs.positions), apart(pairs.samples, pairs.both))

    def signal(self, x: Signal, layout: Layout) -> Signal:
        square = self.square(x.square, x.pairs.positions)
        pairs = self.pairs(x.size, x.pairs)
        return replace(x, layout=layout, square=square, mean=self.of(x.mean), pairs=pairs)

    def back(self, delta: Delta) -> Delta:
        turned = self.turned
        square = turned.square(delta.square, delta.pairs.positions)
        return replace(delta, square=square, pairs=turned.pairs(delta.size, delta.pairs))


@law(*POOLS, *RESIZES, "pad")
@dataclass(frozen=True)
class Averaged(Law):
    """y = A x along the axes of positions:  E[y(p)²] = Σ_a A_pa² E[x(a)²] + ((Σ_a A_pa)² − Σ_a A_pa²) E[x x′], and
    δx = Aᵀ δy in the same way.  Channels that padding adds are 0.

    Products of two positions are taken at their mean over all pairs; neighbours in a smooth image have more in common.
    """

    axes: tuple[tuple[int, Tensor], ...] = field(kw_only=True, repr=False, compare=False)
    """The axes that it acts on, with A of each."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if len(call.given) != 1 or len(call.given[0]) != len(call.shape):
            return None
        if call.operation == "pad":
            pads = call.argument(1, "pad")
            if call.argument(2, "mode", "constant") == "constant" and (call.argument(3, "value") or 0) != 0:
                return None
            dims = len(pads) // 2
        else:
            dims = int(call.operation[-2]) if call.operation in POOLS else len(call.shape) - 2
        source = call.given[0]
        acts = [a for a in range(len(source) - dims, len(source)) if call.operation != "pad" or _padded(a, call)]
        matrices = _matrices(call, acts)
        return None if matrices is None else cls(call.shape, axes=tuple(zip(acts, matrices, strict=True)))

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        share = self._units(x.layout)
        mixed = self._mixing(x.layout).signal(x, like(x, self.shape))
        return replace(mixed, square=mixed.square * share, mean=mixed.mean * share, pairs=mixed.pairs.times(share))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return (self._mixing(inputs[0].layout).back(delta),)

    def _mixing(self, source: Layout) -> Mixing:
        known = dict(self.axes)
        merged = [torch.eye(n, dtype=torch.float64) for n in source.merged]
        places = [a for a, role in enumerate(source.roles) if role == "P"]
        return Mixing((*merged, *(known.get(a, torch.eye(source.shape[a], dtype=torch.float64)) for a in places)))

    def _units(self, source: Layout) -> float:
        """By which share padded channels dilute the others."""
        return math.prod(a.shape[1] / a.shape[0] for axis, a in self.axes if source.roles[axis] == "F")


def _padded(axis: int, call: Call) -> bool:
    return call.given[0][axis] != call.shape[axis] or call.argument(2, "mode", "constant") != "constant"


def _matrices(call: Call, acts: Sequence[int]) -> list[Tensor] | None:
    """What the operation makes of e_i along each axis and 1 along the others; it is a product over the axes.

    None for an operation that refuses, on the first axis, and on tensors too large to try.
    """
    source = call.given[0]
    sizes = [n if a in acts else 1 for a, n in enumerate(source)]
    if 0 in acts or max((math.prod(sizes) * source[a] for a in acts), default=0) > MOST:
        return None
    ones = _called(call, torch.ones(sizes))
    if ones is None:
        return None
    peak = int(ones.flatten().argmax())
    at = [int(i) for i in torch.unravel_index(torch.tensor(peak), ones.shape)]
    found = []
    for a in acts:
        basis = torch.eye(source[a]).reshape(source[a], *(source[a] if b == a else 1 for b in range(1, len(source))))
        made = _called(call, basis.expand(source[a], *sizes[1:]).contiguous())
        assert made is not None
        line = made[tuple(slice(None) if b in (0, a) else i for b, i in enumerate(at))]
        found.append(line.T.double())
    if len(found) > 1:
        found[0] = found[0] / float(ones.flatten()[peak]) ** (len(found) - 1)
    return found


def _called(call: Call, x: Tensor) -> Tensor | None:
    args, kwargs = tree_map(lambda a: x if isinstance(a, Slot) else a, (call.args, dict(call.kwargs)))
    try:
        return call.function(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # not for such a tensor
        return None
