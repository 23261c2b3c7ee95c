"""Statistics of many tensors, taken as they pass and read together later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import overload

import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.native import kernels
from undertow.native.device import DeviceRows
from undertow.native.statistics import CODES, PLAIN, Statistics, diluted, of_row, row, stored

FIELDS = len(Statistics._fields)
ROW = FIELDS * 8
"""Bytes."""
FIRST_ROWS = 256


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

    def norm(self, slots: list[int] | slice) -> float:
        """√Σx² over all values of these slots; NaN where one of them is NaN, else inf where one is infinite."""
        count, _, rms, _, _, nans, infs, _ = self._arrived()[slots].unbind(1)
        if torch.stack([nans, infs]).any():
            return math.nan if nans.any() else math.inf
        return math.hypot(*(rms * count.sqrt())[count > 0].tolist())

    def _arrived(self) -> Tensor:
        for arrive in self._arrivals:
            arrive(self._rows)
        self._arrivals.clear()
        return self._rows

    def _settled(self) -> list[list[float]]:
        if self._numbers is None:
            self._numbers = self._arrived().tolist()
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
        self._codes = CODES if kernels.module is not None else {}
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
        try:
            if tensor.is_cpu and type(tensor) in PLAIN and tensor.is_contiguous() and not tensor.is_neg():
                row = self._reserve(1)
                kernels.module.measure(self._codes[tensor.dtype], tensor.data_ptr(), tensor.numel(), row)
                self._count += 1
                return self._count - 1
        except (KeyError, RuntimeError, ValueError):  # another dtype, or no memory that the kernel could read
            pass
        return self._add_other(tensor)

    def add_many(self, tensors: Iterable[Tensor]) -> range:
        """As `add` for each, in one call of the kernel where it takes all of them; the slots, in order."""
        tensors, first = list(tensors), self._count
        try:
            if all(t.is_cpu and type(t) in PLAIN and t.is_contiguous() and not t.is_neg() for t in tensors):
                codes = [self._codes[t.dtype] for t in tensors]
                addresses, counts = [t.data_ptr() for t in tensors], [t.numel() for t in tensors]
                kernels.module.measure_many(codes, addresses, counts, self._reserve(len(tensors)))
                self._count += len(tensors)
                return range(first, self._count)
        except (KeyError, RuntimeError, ValueError):
            pass
        for tensor in tensors:
            self.add(tensor)
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
        if after.dtype in self._codes and on_host(after) and on_host(before):
            aligned = after.stride() == before.stride()
            x, _ = stored(after if aligned else after.contiguous())
            y, _ = stored(before if aligned else before.contiguous())
            row = self._reserve(1)
            kernels.module.measure(self._codes[x.dtype], x.data_ptr(), x.numel(), row, y.data_ptr())
            self._count += 1
            return self._count - 1
        wide = torch.float32 if after.dtype.itemsize < 4 else after.dtype
        return self.add(after.detach().to(wide) - before.detach().to(wide))

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
        at, slot = self._reserve(1), self._count
        if not on_host(values):
            self._devices.setdefault(values.device, DeviceRows(values.device)).add(slot, values)
        elif values.dtype in self._codes:
            kernels.module.measure(self._codes[values.dtype], values.data_ptr(), values.numel(), at)
        else:
            self._rows[slot] = row(values)
        if unstored:
            self._unstored[slot] = unstored
        self._count += 1
        return slot

    def _reserve(self, slots: int) -> int:
        """The address of the next rows."""
        while self._count + slots > self._capacity:
            self._keep(torch.cat([self._rows, torch.empty_like(self._rows)]))
        return self._address + self._count * ROW

    def _keep(self, rows: Tensor) -> None:
        self._rows, self._capacity, self._address = rows, len(rows), rows.data_ptr()


def on_host(tensor: Tensor) -> bool:
    """Whether the numbers of this tensor are at hand at once."""
    return tensor.is_cpu
