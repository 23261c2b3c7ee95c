"""Rows of statistics that another device computes while the host goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from undertow.native.statistics import row


class DeviceRows:
    """What tensors of one device gave since the last sending; nothing here waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._slots: list[int] = []
        self._rows: list[Tensor] = []

    def add(self, slot: int, values: Tensor) -> None:
        """Queues the statistics of contiguous values."""
        self._slots.append(slot)
        self._rows.append(row(values))

    def sent(self) -> list[Callable[[Tensor], None]]:
        """Queues the copy of the rows to the host; what puts them into their slots of a table, once they are there."""
        if not self._slots:
            return []
        rows, slots = torch.stack(self._rows), self._slots
        self._rows, self._slots = [], []
        if rows.is_cuda:
            there = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            there.copy_(rows, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
            return [partial(_arrive, there, slots, done.synchronize)]
        return [partial(_arrive, rows, slots, lambda: None)]


def _arrive(rows: Tensor, slots: list[int], wait: Callable[[], None], table: Tensor) -> None:
    wait()
    table[slots] = rows.to(table.device, table.dtype)
