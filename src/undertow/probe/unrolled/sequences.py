"""A few sequences of a batch, as a recurrent layer is given them and gives them back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

MOST = 8
"""Sequences of a batch that are looked at: a size over them and all units is known to a few per cent.  Ours."""


class Shape(NamedTuple):
    """Where the sequences of a call lie."""

    batched: bool
    batch: int
    """The dimension of the sequences in input and output."""
    order: Tensor | None
    """Of packed sequences, the places of the longest in the batch, where they are sorted."""
    sizes: Tensor | None
    """Of packed sequences, how many go on at each time."""

    @property
    def chosen(self) -> Tensor | slice:
        """The sequences that are looked at, in tensors that hold the batch as it was given."""
        return slice(MOST) if self.order is None else self.order[:MOST]


def shape_of(layer: nn.RNNBase, given: Tensor | PackedSequence) -> Shape:
    if isinstance(given, PackedSequence):
        return Shape(True, 0, given.sorted_indices, given.batch_sizes)
    return Shape(given.dim() == 3, 0 if layer.batch_first else 1, None, None)


def length(layer: nn.RNNBase, given: Tensor | PackedSequence) -> int:
    """Its time steps."""
    if isinstance(given, PackedSequence):
        return len(given.batch_sizes)
    return given.shape[1 if layer.batch_first and given.dim() == 3 else 0]


def few_of_sequences(shape: Shape, value: Any) -> Any:
    """A copy of an input, an output or the gradient of one (of packed sequences, their data), in float32 at least."""
    if isinstance(value, PackedSequence):
        return PackedSequence(few_of_sequences(shape, value.data), value.batch_sizes.clamp(max=MOST))
    with torch.no_grad():
        if shape.sizes is not None:
            steps = value.split(shape.sizes.tolist())
            return _own(torch.cat([step[:MOST] for step in steps]))
        return _own(value.narrow(shape.batch, 0, min(MOST, value.shape[shape.batch])) if shape.batched else value)


def few_of_states(shape: Shape, value: Any) -> Any:
    """The same of a state, (layers · directions, batch, size), or of a tuple of them."""
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return tuple(few_of_states(shape, v) for v in value)
    with torch.no_grad():
        return _own(value[:, shape.chosen] if shape.batched else value)


def _own(value: Tensor) -> Tensor:
    wide = value.dtype if value.dtype is torch.float64 else torch.float32
    return value.detach().to(wide, copy=True)
