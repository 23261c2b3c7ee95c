"""Operations that move or choose values: views, permutations, slices, flattening."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.record.operations import PLUMBING
from undertow.theory.laws.base import Call, Law, Slot, law
from undertow.theory.signal import Delta, Layout, Signal

CHOOSING = ("getitem", "chunk", "split", "select", "narrow", "unbind", "expand", "tensor_split", "index_select")


@law(*PLUMBING, *CHOOSING)
@dataclass(frozen=True)
class Moved(Law):
    """Each value of y is one of x; x gets back what y's values get, and 0 where none was taken."""

    axes: tuple[tuple[int, ...], ...] = field(kw_only=True)
    """Per axis of y the axes of x that it runs along."""
    share: float = 1.0
    """Values of y by values of x."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if len(call.given) != 1:
            return None
        source = torch.empty(call.given[0], device="meta")
        function_args = tree_map(lambda a: source if isinstance(a, Slot) else a, (call.args, dict(call.kwargs)))
        made = call.function(*function_args[0], **function_args[1])
        outputs = [t for t in tree_leaves(made) if isinstance(t, Tensor)]
        y = outputs[call.output]
        axes = tuple(_along(size, stride, source) for size, stride in zip(y.shape, y.stride(), strict=True))
        return cls(call.shape, axes=axes, share=y.numel() / max(source.numel(), 1))

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        return replace(
            x,
            layout=Layout(self.shape, "".join(_role([x.layout.roles[a] for a in axes]) for axes in self.axes)),
            square=self._placed(x.square, x.layout),
            mean=self._placed(x.mean, x.layout),
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        """Of the values that were not taken δ is 0: the mean over all shrinks by the share."""
        (x,) = inputs
        square = delta.square.mean(dim=tuple(range(1, delta.square.ndim)), keepdim=False)
        places = [1] * len(x.layout.positions)
        if self._keeps_positions(x.layout):
            order = [axes[0] for axes, r in zip(self.axes, output.layout.roles, strict=True) if r == "P"]
            back = sorted(range(len(order)), key=lambda i: order[i])
            return (replace(delta, square=delta.square.permute(0, *(i + 1 for i in back)) * self.share),)
        return (replace(delta, square=square.reshape(-1, *places) * self.share),)

    def _keeps_positions(self, source: Layout) -> bool:
        kept = [
            axes[0]
            for axes, size in zip(self.axes, self.shape, strict=True)
            if len(axes) == 1 and source.roles[axes[0]] == "P" and size == source.shape[axes[0]]
        ]
        return len(kept) == len(source.positions)

    def _placed(self, moments: Tensor, source: Layout) -> Tensor:
        """The map over positions in the output's order; where positions were merged or chosen, their mean."""
        positions = [a for a, role in enumerate(source.roles) if role == "P"]
        if self._keeps_positions(source):
            order = [positions.index(axes[0]) for axes in self.axes if len(axes) == 1 and axes[0] in positions]
            return moments.permute(0, *(1 + i for i in order))
        roles = [_role([source.roles[a] for a in axes]) for axes in self.axes]
        flat = moments.mean(dim=tuple(range(1, moments.ndim))) if moments.ndim > 1 else moments
        return flat.reshape(-1, *[1] * roles.count("P"))


def _along(size: int, stride: int, source: Tensor) -> tuple[int, ...]:
    """The axes of a contiguous source that an axis of a view runs along."""
    if size <= 1 or stride == 0:
        return ()
    reach = stride * size
    found = []
    for axis, (n, step) in enumerate(zip(source.shape, source.stride(), strict=True)):
        if n > 1 and step < reach and step * n > stride:
            found.append(axis)
    return tuple(found)


def _role(roles: list[str]) -> str:
    """Of an axis that runs along axes of these roles: units swallow what is merged with them."""
    return "F" if "F" in roles else "P" if "P" in roles and "S" not in roles else "S" if "S" in roles else "F"


def untouched(arguments: Any) -> bool:
    return not any(isinstance(a, Slot) for a in tree_leaves(arguments))
