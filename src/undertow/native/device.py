"""Rows of statistics that another device computes while the host goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from undertow.native import triton
from undertow.native.statistics import row

CHUNK = 256
"""Rows that are allocated, and set to zero, at once."""
Arrival = Callable[[Tensor], None]
"""Waits for the numbers, and puts them into their rows of a table."""


class DeviceRows:
    """What the tensors of one device gave since they were last sent; nothing in here waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._chunks: list[Tensor] = []
        self._summed: list[tuple[int, int]] = []
        self._rows: list[tuple[int, Tensor]] = []

    def add(self, slot: int, values: Tensor) -> None:
        """Queues the statistics of contiguous values: one kernel, or torch operations where triton is missing."""
        if not triton.takes(values):
            self._rows.append((slot, row(values)))
            return
        at = len(self._summed) % CHUNK
        if at == 0:
            self._chunks.append(torch.zeros(CHUNK, triton.SUMS, dtype=torch.float64, device=self.device))
        self._summed.append((slot, values.numel()))
        triton.add_sums(values, self._chunks[-1][at])

    def sent(self) -> list[Arrival]:
        """Queues the copy of all rows to the host, and forgets them."""
        arrivals = []
        if self._summed:
            slots, counts = zip(*self._summed, strict=True)
            sums = on_its_way(torch.cat(self._chunks)[: len(slots)])
            arrivals.append(partial(_put_sums, list(slots), list(counts), sums))
        if self._rows:
            slots, rows = zip(*self._rows, strict=True)
            arrivals.append(partial(_put, list(slots), on_its_way(torch.stack(rows))))
        self._chunks, self._summed, self._rows = [], [], []
        return arrivals


def on_its_way(tensor: Tensor) -> Callable[[], Tensor]:
    """Queues the copy of a tensor to the host, where its device can; the call waits for it, and gives it in float64."""
    if not tensor.is_cuda:
        return lambda: tensor.cpu().double()
    there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    there.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(tensor.device))

    def arrived() -> Tensor:
        done.synchronize()
        return there.double()

    return arrived


def _put(slots: list[int], rows: Callable[[], Tensor], table: Tensor) -> None:
    table[slots] = rows()


def _put_sums(slots: list[int], counts: list[int], sums: Callable[[], Tensor], table: Tensor) -> None:
    total, squares, top, zeros, nans, infs, subnormals = sums().unbind(1)
    count = total.new_tensor(counts)
    finite = count - nans - infs
    top = torch.where(finite > 0, top, torch.nan)
    table[slots] = torch.stack(
        [count, total / finite, (squares / finite).sqrt(), top, zeros, nans, infs, subnormals], 1
    )
