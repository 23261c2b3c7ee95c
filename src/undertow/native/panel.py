"""Statistics of many tensors, taken as they pass and read together later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from undertow.foundation import InputError
from undertow.native import kernels
from undertow.native.device import DeviceRows
from undertow.native.statistics import CODES, MANY, Statistics, address, diluted, of_row, row, stored, threads

FIELDS = len(Statistics._fields)
ROW = FIELDS * 8
"""Bytes."""
FIRST_ROWS = 256

measure: Any = getattr(kernels.module, "measure", None)


class Readings(Sequence[Statistics]):
    """The statistics of the slots of a panel, decoded when they are asked for.

    Numbers that a GPU still computes are waited for at the first access, not before: to lose no time, read a step's
    numbers during the next one.
    """

    def __init__(self, rows: Tensor, unstored: dict[int, int], arrivals: list[Callable[[Tensor], None]]) -> None:
        self._rows, self._unstored, self._arrivals = rows, unstored, arrivals
        self._numbers: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Statistics: ...
    @overload
    def __getitem__(self, index: slice) -> list[Statistics]: ...
    def __getitem__(self, index: int | slice) -> Statistics | list[Statistics]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = of_row(self._settled()[index])
        zeros = self._unstored.get(index % len(self), 0) if self._unstored else 0
        return diluted(found, zeros) if zeros else found

    def norm(self, slots: Sequence[int] | slice) -> float:
        """√Σx² over all values of these slots; NaN where one of them is NaN, else inf where one is infinite."""
        every = self._settled()
        rows = every[slots] if isinstance(slots, slice) else [every[slot] for slot in slots]
        if any(nans for *_, nans, _, _ in rows):
            return math.nan
        if any(infs for *_, infs, _ in rows):
            return math.inf
        return math.hypot(*(rms * math.sqrt(count) for count, _, rms, *_ in rows if count))

    def _settled(self) -> list[list[float]]:
        if self._numbers is None:
            for arrive in self._arrivals:
                arrive(self._rows)
            self._arrivals.clear()
            self._numbers = self._rows.tolist()
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

    def __init__(self) -> None:
        self._count = 0
        self._unstored: dict[int, int] = {}
        self._devices: dict[torch.device, DeviceRows] = {}
        self._arrivals: list[Callable[[Tensor], None]] = []
        self._keep(torch.empty(FIRST_ROWS, FIELDS, dtype=torch.float64))

    def __len__(self) -> int:
        return self._count

    def add(self, tensor: Tensor) -> int:
        """Takes the statistics of a tensor; the slot under which they are read.

        Raises
        ------
        InputError
            As `undertow.native.statistics`; the slot is not taken then.
        """
        at = address(tensor)
        if not at:
            return self._add_other(tensor)
        slot, n = self._reserve(1), tensor.numel()
        measure(CODES[tensor.dtype], at, n, self._at + ROW * slot, 0, 1 if n < MANY else threads())
        return slot

    def add_many(self, tensors: Iterable[Tensor]) -> range:
        """As `add` for each, in one call of the kernel where it takes all of them; the slots, in order."""
        tensors = list(tensors)
        addresses = [address(t) for t in tensors]
        if not all(addresses):
            first = self._count
            return range(first, first + len([self.add(t) for t in tensors]))
        first = self._reserve(len(tensors))
        codes, counts = [CODES[t.dtype] for t in tensors], [t.numel() for t in tensors]
        kernels.module.measure_many(codes, addresses, counts, self._at + ROW * first, threads())
        return range(first, self._count)

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
        return Readings(self._rows[: self._count].clone(), dict(self._unstored), list(self._arrivals))

    def clear(self) -> None:
        """Forgets all slots; the next is 0 again."""
        self.flush()
        self._count = 0
        self._unstored.clear()
        self._arrivals.clear()

    def _add_other(self, tensor: Tensor) -> int:
        """What the kernel does not read as it lies in memory."""
        values, unstored = stored(tensor)
        if on_host(values) and address(values):
            slot = self.add(values)
        else:
            slot = self._reserve(1)
            self._add_by_torch(slot, values)
        if unstored:
            self._unstored[slot] = unstored
        return slot

    def _add_other_difference(self, after: Tensor, before: Tensor) -> int:
        if after.layout is torch.strided and before.layout is torch.strided:
            if after.stride() != before.stride():
                after, before = after.contiguous(), before.contiguous()
            after, before = stored(after)[0], stored(before)[0]
            if address(after) and address(before):
                return self.add_difference(after, before)
        wide = torch.float32 if after.dtype.itemsize < 4 else after.dtype
        return self.add(after.to(wide) - before.to(wide))

    def _add_by_torch(self, slot: int, values: Tensor) -> None:
        if on_host(values):
            self._rows[slot] = row(values)
        else:
            self._devices.setdefault(values.device, DeviceRows(values.device)).add(slot, values)

    def _reserve(self, slots: int) -> int:
        """The first of that many new slots."""
        first = self._count
        self._count += slots
        while self._count > self._capacity:
            self._keep(torch.cat([self._rows, torch.empty_like(self._rows)]))
        return first

    def _keep(self, rows: Tensor) -> None:
        if is_fake(rows):
            raise InputError("a panel inside a FakeTensorMode", "memory for its numbers", "make it outside")
        self._rows, self._capacity, self._at = rows, len(rows), rows.data_ptr()


def on_host(tensor: Tensor) -> bool:
    """Whether the numbers of this tensor are at hand at once."""
    return tensor.is_cpu
