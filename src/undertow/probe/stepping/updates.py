"""The optimizer's view: by how much a step changed each parameter, its own scaling included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any

import torch
from torch import Tensor

from undertow.native import Panel, kernels
from undertow.native.statistics import reader
from undertow.probe.sharing.sharding import local
from undertow.probe.stepping.gradients import Panelled, values_of

MOST = 1 << 13
"""A larger parameter is sampled: 8,192 values give the rms of the change to 1 % (one in √(2n), for normal values)."""
RUN = 128
"""Values in a row of a sample: eight lines of a cache in float32."""


class Samples:
    """Some parameters, of which samples are taken before and after a step; made once for many steps."""

    def __init__(self, named: Sequence[tuple[str, Tensor]]) -> None:
        self.names = tuple(name for name, _ in named)
        self.parameters = [p for _, p in named]
        self.ids = list(map(id, self.parameters))
        self.every = list(range(len(self.ids)))
        self.places = dict(zip(self.ids, self.every, strict=True))
        self.native: Any = None
        if reader is not None:
            self.native = kernels.module.Samples(reader, [(p.numel(), *_runs(p)) for p in self.parameters])


class Updates:
    """The weights before a step, and by how much it changes them; a shard is compared as one."""

    def __init__(self, samples: Samples) -> None:
        """Takes the readings of the weights, and keeps their samples; those of a former step are gone."""
        self._samples = samples
        self._changes, before = Panel(len(samples.ids)), Panel(len(samples.ids))
        self._apart: dict[int, int] = {}
        left = samples.every if samples.native is None else samples.native.keep(samples.parameters, before.address)
        self._kept = {place: kept(samples.parameters[place]) for place in left}
        for place in left:
            before.put(place, values_of(samples.parameters[place]))
        self.names, self.ids = samples.names, samples.ids
        self.weights = Panelled(before, samples.ids, samples.every)

    def stepped(self, parameters: Iterable[Tensor]) -> None:
        """Takes the readings of w(after) - w(before) of the parameters that were stepped."""
        samples, found = self._samples, list(parameters)
        places = samples.every
        if list(map(id, found)) != samples.ids:
            found = [p for p in found if id(p) in samples.places]
            places = [samples.places[id(p)] for p in found]
        if samples.native is not None:
            samples.native.compare(found, places, self._changes.address)
        now = dict(zip(places, found, strict=True)) if self._kept else {}
        for place, before in self._kept.items():
            if place in now:
                after = sample(now[place])
                if before.shape == after.shape:  # else it was resharded, or given other data
                    self._apart[place] = self._changes.add_difference(after, before)

    def readings(self) -> Panelled:
        """By the id of the parameter; some may be there without a reading."""
        every = self._samples.every
        return Panelled(
            self._changes, self._samples.ids, [self._apart.get(k, k) for k in every] if self._apart else every
        )


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
    values = values_of(parameter)
    runs, length, stride = _runs(values)
    values = values.reshape(-1)
    return values if runs == 1 else values.as_strided((runs, length), (stride, 1)).contiguous()


def _runs(values: Tensor) -> tuple[int, int, int]:
    """How many runs a sample has, their length, and the stride between them."""
    n, width = values.numel(), values.shape[-1] if values.ndim > 1 else 1
    if n <= MOST:
        return 1, n, n
    runs = MOST // RUN
    stride = (n - RUN) // (runs - 1)
    while gcd(stride, width) > 1:
        stride -= 1
    return runs, RUN, stride
