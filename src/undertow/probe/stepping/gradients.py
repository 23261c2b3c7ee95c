"""The gradients of parameters at one moment of a step, and by what one tells later what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import NoneType
from typing import cast

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from undertow.native import Panel
from undertow.probe.sharing.sharding import is_of_fsdp1, local
from undertow.record import Reading


class Panelled(Mapping[int, Reading]):
    """Readings by the id of a parameter, decoded when they are asked for; on a GPU nothing waits before that."""

    def __init__(self, panel: Panel, parameters: Sequence[int], slots: Sequence[int]) -> None:
        self.table, self.parameters, self._slots = panel.close(), parameters, slots

    @cached_property
    def slots(self) -> dict[int, int]:
        return dict(zip(self.parameters, self._slots, strict=True))

    def __getitem__(self, parameter: int) -> Reading:
        return Reading(*self.table[self.slots[parameter]])

    def measured(self, parameter: int) -> Reading | None:
        """None where nothing was put into its slot."""
        slot = self.slots.get(parameter)
        return Reading(*self.table[slot]) if slot is not None and self.table.has(slot) else None

    def __iter__(self) -> Iterator[int]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)


class Gradients:
    """The gradients that parameters have now; those of a sparse layer by the rows that it has."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        scale: Tensor | None = None,
        found_inf: Tensor | None = None,
        *,
        scaled: bool = False,
    ) -> None:
        """`scale` and `found_inf` are a loss scaler's, read at the same moment; `scaled`: the optimizer will divide."""
        self._scaled = scaled
        self._parameters, gradients = _found(parameters)
        self._marks: list[int] | None = _marks(gradients)
        panel = Panel(len(gradients) + (scale is not None) + (found_inf is not None))
        sparse: dict[int, Tensor] = {}

        def stored(gradient: Tensor) -> Tensor:
            values = values_of(gradient)
            if values.is_sparse:
                sparse[id(gradient)] = values
            return values

        panel.put_all(gradients, stored)
        held = zip(self._parameters, gradients, strict=True) if sparse else ()
        self.rows = {p: (v._nnz(), len(v)) for p, g in held if (v := sparse.get(id(g))) is not None}
        """Per parameter with a sparse gradient, how many rows it has and of how many."""
        self._scale = None if scale is None else len(gradients)
        self._found_inf = None if found_inf is None else len(gradients) + (scale is not None)
        for slot, number in ((self._scale, scale), (self._found_inf, found_inf)):
            if slot is not None and number is not None:
                panel.put(slot, number)
        self.readings = Panelled(panel, self._parameters, range(len(gradients)))

    def same(self, parameters: Iterable[Tensor]) -> bool:
        """Whether nothing has replaced or written to these gradients since, as far as torch counts it.

        It does not count what is written to `p.grad.data`, nor the division by GradScaler.unscale_.
        """
        if self._marks is None:
            return False
        parameters = list(parameters)
        found, gradients = _found(parameters)
        if found == self._parameters:
            return _marks(gradients) == self._marks
        before = _by_parameter(self._parameters, self._marks)
        return _by_parameter(found, _marks(gradients)) == {i: before[i] for i in map(id, parameters) if i in before}

    def settle(self, ids: list[int]) -> None:
        """Only the readings are asked for from now on; these ids may stand for their own, where they are the same."""
        self._marks = None
        if self._parameters == ids:
            self._parameters = self.readings.parameters = ids

    def norm(self, parameters: Iterable[Tensor]) -> float:
        """The Euclidean norm of all of them together; NaN where there are none."""
        wanted = list(map(id, parameters))
        if wanted == self._parameters:
            return self.readings.table.norm(slice(len(wanted))) if wanted else math.nan
        slots = [slot for i in wanted if (slot := self.readings.slots.get(i)) is not None]
        return self.readings.table.norm(slots) if slots else math.nan

    @cached_property
    def moving(self) -> dict[int, bool]:
        """Per parameter that has values here, whether its gradient has any that is not 0."""
        rows = self.readings.table.rows[: len(self._parameters)]
        moving = ((rows[:, 3] > 0) | (rows[:, 5:7] > 0).any(1)).tolist()
        found = zip(self._parameters, moving, rows[:, 0].tolist(), strict=True)
        return {i: some for i, some, count in found if count or i in self.rows}

    @property
    def scale(self) -> float:
        return 1.0 if self._scale is None else self.readings.table[self._scale].mean

    @property
    def divisor(self) -> float:
        """What the optimizer will divide them by."""
        return self.scale if self._scaled else 1.0

    @property
    def overflowed(self) -> bool:
        """Whether a loss scaler told a fused optimizer to leave the parameters alone."""
        return self._found_inf is not None and self.readings.table[self._found_inf].max > 0


def _found(parameters: Iterable[Tensor]) -> tuple[list[int], list[Tensor]]:
    """The ids of the parameters that have a gradient, and the gradients."""
    parameters = list(parameters)
    gradients: list[Tensor | None] = [p.grad for p in parameters]
    if NoneType not in set(map(type, gradients)):
        return list(map(id, parameters)), cast("list[Tensor]", gradients)
    held = [p for p, g in zip(parameters, gradients, strict=True) if g is not None]
    return list(map(id, held)), [g for g in gradients if g is not None]


def _marks(gradients: list[Tensor]) -> list[int]:
    """First which they are, then how often each was written to: no tuples, of which the collector takes notice."""
    return [*map(id, gradients), *[g._version for g in gradients]]


def _by_parameter(parameters: list[int], marks: list[int]) -> dict[int, tuple[int, int]]:
    half = len(marks) // 2
    return dict(zip(parameters, zip(marks[:half], marks[half:], strict=True), strict=True))


def values_of(gradient: Tensor) -> Tensor:
    """What is measured of a gradient: this rank's part of a DTensor, real and imaginary part of a complex one."""
    gradient = local(gradient.detach())
    if gradient.is_sparse:
        gradient = gradient.coalesce()
    if not gradient.is_complex():
        return gradient
    return torch.view_as_real(gradient.values() if gradient.is_sparse else gradient)


def divided(reading: Reading, divisor: float) -> Reading:
    """The reading of the values divided by a power of two, as scales of losses are."""
    if divisor == 1.0:
        return reading
    return replace(
        reading, mean=reading.mean / divisor, rms=reading.rms / divisor, max=reading.max / divisor, subnormals=0
    )


class Marks:
    """What the gradients of some parameters were, so that the next backward pass can be told to add to them or not.

    Gradients are referred to weakly: they are freed when they would have been.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        found = ((p, p.grad) for p in parameters if not is_of_fsdp1(p))
        self._of = {id(p): (p, TensorWeakRef(g), g._version) for p, g in found if g is not None}

    def renew(self) -> None:
        """The gradients are as they are to be found; an optimizer may have written to them."""
        self._of = {
            i: (p, gradient, version if p.grad is None else p.grad._version)
            for i, (p, gradient, version) in self._of.items()
        }

    def dropped(self, reached: Tensor) -> bool:
        """Whether they were set to None or zero before the backward pass that has just reached this parameter.

        Adding to a gradient is counted as one change of it; zeroing it before as another.
        """
        change = self._change(reached)
        others = [self._is_there(i) for i in self._of if i != id(reached)]
        if others:  # a gradient that is added to under create_graph becomes another one: the others have the word
            return not all(others) or (change is not None and change > 1)
        return change is not None and change != 1

    @property
    def kept(self) -> bool:
        """Whether all are as they were: what comes will be added to them."""
        return all(p.grad is not None and p.grad is g() and p.grad._version == v for p, g, v in self._of.values())

    def added(self, reached: Tensor) -> bool:
        """Whether the pass that has just reached this parameter has added to the gradient that was there."""
        return self._change(reached) == 1

    def _change(self, reached: Tensor) -> int | None:
        """How often the gradient was written to; -1 where it is another one, None where that isn't known."""
        if id(reached) not in self._of:
            return None
        if not self._is_there(id(reached)):
            return -1
        now, version = reached.grad, self._of[id(reached)][2]
        assert now is not None
        return 1 if now._is_view() else now._version - version  # views of one bucket (DDP) count all writes to it

    def _is_there(self, parameter: int) -> bool:
        holder, gradient, _ = self._of[parameter]
        return holder.grad is not None and holder.grad is gradient()


LAST = 16
"""Parameters among which a small one is looked for: as a rule there is a bias.  Ours."""


class Late:
    """A small gradient, kept from an optimizer's step to the next pass, to see a change that comes too late."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        whole = [p for p in parameters[-LAST:] if (g := p.grad) is not None and not g.is_sparse and not g._is_view()]
        self._parameter = min(whole, key=Tensor.numel, default=None)
        self._gradient = None if self._parameter is None else self._parameter.grad
        self._version = 0 if self._gradient is None else self._gradient._version

    def changed(self) -> bool:
        """At the end of the next pass: whether the gradient was written to, but for zeroing and adding to it."""
        if self._parameter is None or self._gradient is None:
            return False
        usual = 2 if self._parameter.grad is self._gradient else 0
        return self._gradient._version - self._version > usual
