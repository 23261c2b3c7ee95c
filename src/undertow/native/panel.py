"""Statistics of many tensors, taken as they pass and read together later."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.native import kernels
from undertow.native.device import DeviceRows
from undertow.native.statistics import (
    CODES,
    MANY,
    Statistics,
    address,
    diluted,
    of_row,
    reader,
    row,
    stored,
    threads,
)

FIELDS = len(Statistics._fields)
ROW = FIELDS * 8
"""Bytes."""
FIRST_ROWS = 256
UNWRITTEN = array("d", [-1.0])
"""In place of a count.  An array is made at a tenth of what a small tensor costs, and read at as little."""

measure: Any = getattr(kernels.module, "measure", None)
read: Callable[[Tensor, int], bool] = reader.read if reader else lambda tensor, row: False
"""Whether the kernel has written the row; one that is written stays as it is."""


class Readings(Sequence[Statistics]):
    """The statistics of the slots of a panel, decoded when they are asked for.

    Numbers that a GPU still computes are waited for at the first access, not before: to lose no time, read a step's
    numbers during the next one.
    """

    __slots__ = ("_arrivals", "_count", "_numbers", "_unstored")

    def __init__(
        self,
        numbers: array[float],
        count: int,
        unstored: dict[int, int],
        arrivals: list[Callable[[Tensor], None]],
    ) -> None:
        self._numbers, self._count = numbers, count
        self._unstored, self._arrivals = unstored or None, arrivals or None

    def __len__(self) -> int:
        return self._count

    def has(self, slot: int) -> bool:
        """Whether something was put into this slot."""
        return self._settled()[FIELDS * slot] >= 0

    @property
    def rows(self) -> Tensor:
        """All of them, as they are, in the same memory."""
        return as_rows(self._settled())[: self._count]

    def numbers(self, slot: int) -> list[float]:
        """The row as it is."""
        first = FIELDS * range(self._count)[slot]
        return self._settled()[first : first + FIELDS].tolist()

    @overload
    def __getitem__(self, index: int) -> Statistics: ...
    @overload
    def __getitem__(self, index: slice) -> list[Statistics]: ...
    def __getitem__(self, index: int | slice) -> Statistics | list[Statistics]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = of_row(self.numbers(index))
        zeros = self._unstored.get(index % len(self), 0) if self._unstored else 0
        return diluted(found, zeros) if zeros else found

    def norm(self, slots: Sequence[int] | slice) -> float:
        """√Σx² over all values of these slots; NaN where one of them is NaN, else inf where one is infinite."""
        if kernels.module is not None and isinstance(slots, slice):
            first, end, _ = slots.indices(self._count)
            return kernels.module.norm(self._settled().buffer_info()[0] + ROW * first, end - first)
        count, _, rms, _, _, nans, infs, _ = self.rows[slots if isinstance(slots, slice) else list(slots)].unbind(1)
        if nans.any():
            return math.nan
        if infs.any():
            return math.inf
        return math.hypot(*torch.where(count > 0, rms * count.sqrt(), 0.0).tolist())

    def _settled(self) -> array[float]:
        if self._arrivals is not None:
            for arrive in self._arrivals:
                arrive(as_rows(self._numbers))
            self._arrivals = None
        return self._numbers


class Panel:
    """A table of readings that is filled during a step and read after it; no number becomes a Python object before.

    ::

        slot = panel.add(y)                            # in a hook
        slots = panel.add_many(model.parameters())     # one native call for all
        readings = panel.read()                        # readings[slot] -> Statistics
        panel.clear()                                  # the readings stay

    The numbers are those of `undertow.native.statistics`.  On the CPU they are taken at once.  On another device one
    kernel a tensor is queued on the current stream, `flush` (or `read`) queues the copy to the host, and only the
    first access to the readings waits for it.  A panel is for one thread at a time.
    """

    def __init__(self, rows: int = 0) -> None:
        """So many slots are there from the start, for `put`."""
        self._count = rows
        self._unstored: dict[int, int] = {}
        self._devices: dict[torch.device, DeviceRows] = {}
        self._elsewhere: set[int] = set()
        self._arrivals: list[Callable[[Tensor], None]] = []
        self._keep(UNWRITTEN * (FIELDS * (rows or FIRST_ROWS)))

    def __len__(self) -> int:
        return self._count

    @property
    def address(self) -> int:
        """Of the first row, for kernels that write rows themselves."""
        return self._at

    def put(self, slot: int, tensor: Tensor) -> None:
        """Takes the statistics of a tensor under a slot that is there; what is in it already, stays.

        Raises
        ------
        InputError
            As `undertow.native.statistics`.
        """
        if not read(tensor, self._at + ROW * slot):
            self._put_other(slot, tensor)

    def add(self, tensor: Tensor) -> int:
        """The same under a new slot, by which it is read.

        Raises
        ------
        InputError
            As `put`; no slot is taken then.
        """
        slot = self._reserve(1)
        try:
            self.put(slot, tensor)
        except InputError:
            self._count = slot
            raise
        return slot

    def add_many(self, tensors: Iterable[Tensor]) -> range:
        """As `add` for each, in one call of the kernel where it takes all of them; the slots, in order."""
        tensors = list(tensors)
        first = self._reserve(len(tensors))
        self.put_all(tensors, first=first)
        return range(first, self._count)

    def put_all(
        self, tensors: list[Tensor], values: Callable[[Tensor], Tensor] = lambda tensor: tensor, first: int = 0
    ) -> None:
        """As `put`, under slots that follow each other; `values` gives what to measure where the kernel does not read.

        Raises
        ------
        InputError
            As `put`, for the first tensor that is refused.
        """
        left = reader.read_all(tensors, self._at + ROW * first) if reader else range(len(tensors))
        for k in left:
            self.put(first + k, values(tensors[k]))

    def add_difference(self, after: Tensor, before: Tensor) -> int:
        """The statistics of after − before, on the CPU without a temporary of their size; the slot.

        16-bit numbers are subtracted in float32, where no difference of two of them is lost: `zeros` counts the
        values that are equal.

        Raises
        ------
        InputError
            Shapes or dtypes differ, or as `add`.
        """
        if after.shape != before.shape or after.dtype is not before.dtype:
            raise InputError(
                f"{tuple(after.shape)} of {after.dtype} and {tuple(before.shape)} of {before.dtype}",
                "two tensors of one shape and dtype",
                "panel.add_difference(parameter, copy_of_parameter)",
            )
        at, base = address(after), address(before)
        if not (at and base):
            return self._add_other_difference(after.detach(), before.detach())
        slot, n = self._reserve(1), after.numel()
        measure(CODES[after.dtype], at, n, self._at + ROW * slot, base, 1 if n < MANY else threads())
        return slot

    def flush(self) -> None:
        """Queues the copy of what other devices have taken so far; waits for nothing."""
        for rows in self._devices.values():
            self._arrivals.extend(rows.sent())

    def read(self) -> Readings:
        """The readings of all slots so far; they outlive `clear`."""
        self.flush()
        return Readings(self._rows[: FIELDS * self._count], self._count, dict(self._unstored), list(self._arrivals))

    def close(self) -> Readings:
        """The readings, of a panel into which nothing more is put: without a copy of it."""
        self.flush()
        return Readings(self._rows, self._count, self._unstored, self._arrivals)

    def clear(self) -> None:
        """Forgets all slots; the next is 0 again."""
        self.flush()
        self._rows[: FIELDS * self._count] = UNWRITTEN * (FIELDS * self._count)
        self._count, self._arrivals = 0, []
        self._unstored.clear()
        self._elsewhere.clear()

    def _put_other(self, slot: int, tensor: Tensor) -> None:
        """What the kernel does not read as it lies in memory; of a complex tensor, its real and imaginary parts."""
        if slot in self._elsewhere or self._rows[FIELDS * slot] >= 0:
            return
        values, unstored = stored(torch.view_as_real(tensor) if tensor.is_complex() else tensor)
        if unstored:
            self._unstored[slot] = unstored
        if not on_host(values):
            self._elsewhere.add(slot)
            self._devices.setdefault(values.device, DeviceRows(values.device)).add(slot, values)
        elif not read(values, self._at + ROW * slot):
            self._rows[FIELDS * slot : FIELDS * (slot + 1)] = array("d", row(values).tolist())

    def _add_other_difference(self, after: Tensor, before: Tensor) -> int:
        if after.layout is torch.strided and before.layout is torch.strided:
            if after.stride() != before.stride():
                after, before = after.contiguous(), before.contiguous()
            after, before = stored(after)[0], stored(before)[0]
            if address(after) and address(before):
                return self.add_difference(after, before)
        wide = torch.float32 if after.dtype.itemsize < 4 else after.dtype
        return self.add(after.to(wide) - before.to(wide))

    def _reserve(self, slots: int) -> int:
        """The first of that many new slots."""
        first = self._count
        self._count += slots
        while self._count * FIELDS > len(self._rows):
            self._keep(self._rows + UNWRITTEN * len(self._rows))
        return first

    def _keep(self, rows: array[float]) -> None:
        self._rows, self._at = rows, rows.buffer_info()[0]


def as_rows(numbers: array[float]) -> Tensor:
    """A table in the same memory."""
    return torch.frombuffer(numbers, dtype=torch.float64).view(-1, FIELDS)


def on_host(tensor: Tensor) -> bool:
    """Whether the numbers of this tensor are at hand at once."""
    return tensor.is_cpu
