"""The optimizer's view: by how much a step changed each parameter, its own scaling included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import gcd

import torch
from torch import Tensor

from undertow.native import Panel
from undertow.probe.sharing.sharding import local
from undertow.probe.stepping.gradients import Panelled
from undertow.record import Reading

MOST = 1 << 13
"""A larger parameter is sampled: 8,192 values give the rms of the change to 1 % (one in √(2n), for normal values)."""
RUN = 128
"""Values in a row of a sample: eight lines of a cache in float32."""


class Updates:
    """Keeps (samples of) the weights before a step and compares them afterwards; a shard is compared as one."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._before = {id(p): kept(p) for p in parameters}
        self._panel = Panel()
        self._slots: dict[int, int] = {}

    def stepped(self, parameters: Iterable[Tensor]) -> None:
        """Takes the readings of w(after) - w(before) of the parameters that were stepped."""
        for parameter in parameters:
            before = self._before.get(id(parameter))
            after = sample(parameter)
            if before is not None and before.shape == after.shape:  # else it was resharded, or given other data
                self._slots[id(parameter)] = self._panel.add_difference(after, before)

    def readings(self) -> Mapping[int, Reading]:
        """By the id of the parameter."""
        return Panelled(self._panel, list(self._slots), list(self._slots.values()))


class Weights:
    """Parameters at one moment, to see whether something other than an optimizer of torch has stepped them."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._versions = [p._version for p in parameters]
        self._heads = self._beginnings()

    def moved(self) -> bool:
        """Whether any was written to; by value where the writing is not counted, as to `p.data`."""
        if [p._version for p in self._parameters] != self._versions:
            return True
        pairs = zip(self._heads, self._beginnings(), strict=True)
        return any(not torch.equal(before, now) for before, now in pairs)

    def _beginnings(self) -> list[Tensor]:
        ends = (*self._parameters[:HEADS], *self._parameters[-HEADS:])
        return [local(p.detach()).reshape(-1)[:HEADS].clone() for p in ends]


HEADS = 8
"""So many values of so many of the first and the last parameters are compared."""


def kept(parameter: Tensor) -> Tensor:
    """A sample that stays as it is: a small parameter's is its own memory."""
    values = sample(parameter)
    return values.clone() if values.data_ptr() == local(parameter.detach()).data_ptr() else values


def sample(parameter: Tensor) -> Tensor:
    """Its values, or so many of them in short runs from its first to its last, from ever other columns of a matrix.

    Single values at even strides would read nearly as much memory as all of them.
    """
    values = local(parameter.detach())
    if values.is_complex():
        values = torch.view_as_real(values)
    width = values.shape[-1] if values.ndim > 1 else 1
    values = values.reshape(-1)
    if len(values) <= MOST:
        return values
    runs = MOST // RUN
    stride = (len(values) - RUN) // (runs - 1)
    while gcd(stride, width) > 1:
        stride -= 1
    return values.as_strided((runs, RUN), (stride, 1)).contiguous()
