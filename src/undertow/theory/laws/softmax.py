"""The softmax, and what hides keys from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from undertow.theory.attending import HIDDEN, Attends, Shares, narrower, reach_of, shares
from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.signal import Delta, Layout, Pairs, Signal


@law("softmax")
@dataclass(frozen=True)
class Softmax(Law):
    """a = e^z / Σ e^z over n values of variance s²:  E[Σ a²] goes from 1/n at s = 0 as e^(s²)/n.

    δz_j = a_j (δa_j − Σ a δa), so that E[Σ δz²] = E[Σ a² (1 − 2a + Σ a²)] (E[δa²] − E[δa δa′]); see `attending`.
    """

    keys: int = field(kw_only=True)
    axis: int = field(kw_only=True)
    effect = "activation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        axis = call.argument(1, "dim", -1)
        if not call.args or not is_signal(call.args[0]) or not isinstance(axis, int) or not call.shape:
            return None
        axis %= len(call.shape)
        return cls(call.shape, keys=call.shape[axis], axis=axis)

    def _attends(self, z: Signal) -> tuple[Attends, Shares]:
        """Scores that share a part are shifted alike, which a softmax does not see."""
        if z.attends is not None:
            attends, common = z.attends, z.pairs.positions
        else:
            role = z.layout.roles[self.axis]
            attends = Attends(1, self.keys)
            common = {"P": z.pairs.positions, "S": z.pairs.samples}.get(role, float(z.mean.square().mean()))
        attends = attends._replace(variance=max(z.size - common, 0.0))
        return attends, shares(attends.variance, attends.seeing.seen)

    def forward(self, *inputs: Signal) -> Signal:
        (z,) = inputs
        attends, of = self._attends(z)
        n = self.keys
        square = self._by_query(of.second, z) / n
        even = float(of.second.mean())
        pairs = Pairs(even / n, (1 - even) / (n * (n - 1)) if n > 1 else 0.0, 1 / n**2)
        mean = torch.full_like(square, 1 / n)
        kept = attends if z.attends is not None else None
        return replace(z, square=square, mean=mean, pairs=pairs, normal=False, places=0, attends=kept)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (z,) = inputs
        attends, of = self._attends(z)
        mean = delta.size
        apart = max(1 - delta.pairs.positions / mean, 0.0) if mean and z.attends is not None else 1.0
        size = delta.square * apart * self._by_query(of.fluctuation, z) / self.keys
        between = -float(size.mean()) / max(self.keys - 1, 1) if z.attends is not None else 0.0
        alike = delta.attends.alike if delta.attends else 0.0
        handed = attends._replace(alike=alike) if z.attends is not None else None
        return (Delta(size, Pairs(0.0, between, 0.0), delta.spread, attends=handed),)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        """Beyond s² = ½ ln n the largest weight alone decides Σ a²: the second moment of Derrida's random energy model
        (1981), Phys. Rev. B 24, freezes there, and what one initialisation does is far from the mean over them.
        """
        attends, _ = self._attends(inputs[0])
        seen = float(attends.seeing.seen.mean())
        return ("softmax_far_from_uniform",) if attends.variance > max(0.5 * math.log(max(seen, 2.0)), 0.5) else ()

    def _by_query(self, values: Tensor, z: Signal) -> Tensor:
        """(queries,) as a map over positions, the queries' axis before the keys'."""
        dims = z.square.ndim - 1
        if dims < 2 or values.numel() == 1 or z.layout.roles.count("P") < 2:
            return values.mean().reshape(*[1] * z.square.ndim) if values.numel() == 1 or dims < 2 else values.mean()
        return values.reshape(1, *[1] * (dims - 2), -1, 1)


@law("masked_fill", "where", "add", "radd", "iadd")
@dataclass(frozen=True)
class Hidden(Law):
    """Scores of keys that a mask hides; those that are seen pass as they are."""

    mask: Tensor = field(kw_only=True, repr=False, compare=False)
    """True where seen, or what is added."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        mask = _mask(call)
        return None if mask is None or mask.ndim < 2 or len(call.given) != 1 else cls(call.shape, mask=mask)

    def forward(self, *inputs: Signal) -> Signal:
        (z,) = inputs
        queries, keys = self.shape[-2:]
        before = z.attends or Attends(queries, keys)
        reach = narrower(before.reach, reach_of(self.mask, queries, keys))
        attends = before._replace(reach=reach)
        layout = z.layout if len(z.layout.shape) == len(self.shape) else Layout(self.shape, "S" * len(self.shape))
        return replace(z, layout=layout.of(self.shape), attends=attends)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return (delta,)


def _mask(call: Call) -> Tensor | None:
    """The real mask of a call that hides something with it."""
    args = [call.argument(i, name) for i, name in enumerate(("input", "mask", "value"))]
    if call.operation == "masked_fill":
        scores, mask, value = args
        hides = is_signal(scores) and isinstance(mask, Tensor) and _lowest(value) < HIDDEN
        return ~mask.bool() if hides else None
    if call.operation == "where":
        condition, one, other = args[0], call.argument(1, "input"), call.argument(2, "other")
        if not isinstance(condition, Tensor):
            return None
        if is_signal(one) and _lowest(other) < HIDDEN:
            return condition.bool()
        return ~condition.bool() if is_signal(other) and _lowest(one) < HIDDEN else None
    scores, added = args[0], call.argument(1, "other")
    if is_signal(added):
        scores, added = added, scores
    return added if is_signal(scores) and isinstance(added, Tensor) and _lowest(added) < HIDDEN else None


def _lowest(value: object) -> float:
    if isinstance(value, Tensor):
        return float(value.min()) if value.numel() else 0.0
    return float(value) if isinstance(value, int | float) else 0.0
