"""What ranks tell each other of a step, as flat float64 tensors: one to be summed over the ranks, one for maxima.

Both have the same length on every rank, whatever the rank has seen: what it has not seen counts for nothing in the
sum and is -inf in the maximum.  A number per rank has a slot for each rank in the sum, where the others put 0.  The sum
begins with the number of the step: ranks that are not at the same one must not be added up.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.probe.sharing.sharding import Layout
from undertow.record import ParameterReading, RankReading, Reading, Snapshot, Spread, StepReading

Numbers = NDArray[np.float64]
KINDS = ("weight", "gradient", "update")
NOTHING = (0, 0.0, 0.0, -math.inf, 0, 0, 0, 0)
"""A tensor that is not here, by the fields of a reading."""


def step_message(reading: StepReading, layout: Layout, share: float, local: float) -> Tensor:
    """Σg² of what this rank holds, the same before clipping, and its own norm in its slot."""
    after = _square(reading.gradient_norm) * share
    before = after if reading.unclipped_norm is None else _square(reading.unclipped_norm) * share
    changed = float(reading.unclipped_norm is not None)
    return _flat([reading.step, after, before, changed], _slots(local, layout))


def with_ranks(reading: StepReading, layout: Layout, total: Tensor) -> StepReading:
    """The reading of one rank, with the norms over all of them where the parameters are sharded."""
    _, after, before, changed, *slots = total.tolist()
    reading = replace(reading, local_norms=() if all(map(math.isnan, slots)) else tuple(slots))
    if not layout.sharded:
        return reading
    return replace(reading, gradient_norm=math.sqrt(after), unclipped_norm=math.sqrt(before) if changed else None)


@dataclass(frozen=True)
class SnapshotMessage:
    """Packs and unpacks a snapshot; `sites` are those that all ranks have agreed on in an earlier one."""

    layout: Layout
    sites: tuple[str, ...] = ()

    @property
    def whole(self) -> list[str]:
        """The parameters of which every rank has a copy: their readings are the same everywhere."""
        return [name for name, pieces in self.layout.pieces.items() if pieces == 1]

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Rows that are of sites (two each), of sharded parameters (three each), and of whole ones."""
        return 2 * len(self.sites), 3 * len(self.layout.sharded), len(self.whole)

    def pack(self, step: int, snapshot: Snapshot | None, following: int) -> tuple[Tensor, Tensor]:
        """The sums and the maxima; `following` is the step that this rank would measure next."""
        parameters = snapshot.parameters if snapshot else {}
        entries = {e.site.name: e for e in snapshot.ledger} if snapshot and self.sites else {}
        sites = _rows(getattr(entries.get(n), way, None) for n in self.sites for way in ("forward", "backward"))
        sharded = _rows(getattr(parameters.get(n), kind, None) for n in self.layout.sharded for kind in KINDS)
        copies = _rows(parameters[n].weight if n in parameters else None for n in self.whole)
        shares = np.repeat([self.layout.share(n) for n in self.layout.sharded], len(KINDS))
        samples = _slots(snapshot.samples if snapshot else 0, self.layout)
        mark = fingerprint(snapshot)
        total = _flat([step], samples, _squares(sites), _sums(sharded) * shares[:, None])
        top = _flat([following, mark, -mark], _sizes(sites), _largest(sharded), _sizes(copies))
        return total, top

    def unpack(self, snapshot: Snapshot, total: Tensor, top: Tensor) -> Snapshot:
        """The snapshot of one rank, with the parameters' readings over all ranks and how far the ranks are apart."""
        of_sites, of_sharded, of_copies = self.lengths
        sums, tops = total.numpy()[1:], top.numpy()[3:]
        samples, squares, shards = np.split(sums, [self.layout.size, self.layout.size + 2 * of_sites])
        sizes, largest, copies = np.split(tops, [2 * of_sites, 2 * of_sites + of_sharded])
        spreads = _spreads(squares.reshape(-1, 2), sizes.reshape(-1, 2))
        merged = iter(_readings(shards.reshape(-1, 7), largest))
        over_all = {n: [next(merged) for _ in KINDS] for n in self.layout.sharded}
        known = {**snapshot.parameters, **{n: ParameterReading(w, g, u) for n, (w, g, u) in over_all.items() if w}}
        ordered = dict.fromkeys(chain(self.layout.pieces, known))
        ranks = RankReading(
            tuple(map(int, samples)),
            forward=_found(self.sites, spreads[::2]),
            backward=_found(self.sites, spreads[1::2]),
            weights=_found(self.whole, _middles(copies.reshape(of_copies, 2))),
        )
        return replace(
            snapshot,
            parameters={name: known[name] for name in ordered if name in known},
            stage=replace(snapshot.stage, rank=self.layout.rank, ranks=self.layout.size),
            ranks=ranks,
        )


def agreed(top: Tensor) -> tuple[int, bool]:
    """The step that all ranks measure next, and whether all had the same sites in this one."""
    following, mark, negative = top[:3].tolist()
    return int(following), mark == -negative


def fingerprint(snapshot: Snapshot | None) -> float:
    """Of the sites, in their order: 48 bits, which a float64 holds exactly."""
    names = "\n".join(e.site.name for e in snapshot.ledger) if snapshot else ""
    return float(int.from_bytes(hashlib.sha1(names.encode()).digest()[:6]))


# ------------------------------------------------------------ rows of readings


def _flat(*parts: Sequence[float] | Numbers) -> Tensor:
    return torch.from_numpy(np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts]))


def _slots(number: float, layout: Layout) -> list[float]:
    return [number if rank == layout.rank else 0.0 for rank in range(layout.size)]


def _square(number: float) -> float:
    return number * number


def _rows(readings: Iterable[Reading | None]) -> Numbers:
    """count, mean, rms, max, zeros, NaNs, infinities, subnormals."""
    rows = [
        NOTHING if r is None else (r.count, r.mean, r.rms, r.max, r.zeros, r.nans, r.infs, r.subnormals)
        for r in readings
    ]
    return np.array(rows, np.float64).reshape(-1, len(NOTHING))


def _finite(rows: Numbers) -> Numbers:
    return rows[:, 0] - rows[:, 5] - rows[:, 6]


def _sums(rows: Numbers) -> Numbers:
    """count, zeros, NaNs, infinities, subnormals, Σx, Σx²."""
    finite = _finite(rows)
    mean, rms = (np.where(finite > 0, rows[:, i], 0.0) for i in (1, 2))
    return np.column_stack([rows[:, 0], rows[:, 4:8], mean * finite, rms * rms * finite])


def _squares(rows: Numbers) -> Numbers:
    finite = _finite(rows)
    return np.column_stack([finite, np.where(finite > 0, rows[:, 2], 0.0) ** 2 * finite])


def _sizes(rows: Numbers) -> Numbers:
    """The rms for its largest and, with its sign changed, its smallest over the ranks."""
    seen, rms = _finite(rows) > 0, rows[:, 2]
    return np.column_stack([np.where(seen, rms, -np.inf), np.where(seen, -rms, -np.inf)])


def _largest(rows: Numbers) -> Numbers:
    return np.where(_finite(rows) > 0, rows[:, 3], -np.inf)


def _readings(sums: Numbers, largest: Numbers) -> list[Reading | None]:
    """Over all ranks; None where none has values."""
    counts = np.rint(sums[:, :5]).astype(np.int64)
    finite = counts[:, 0] - counts[:, 2] - counts[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, rms = sums[:, 5] / finite, np.sqrt(sums[:, 6] / finite)
    top = np.where(finite > 0, largest, np.nan)
    numbers = zip(counts.tolist(), mean.tolist(), rms.tolist(), top.tolist(), strict=True)
    return [
        Reading(count, mean, rms, top, zeros, nans, infs, subnormals) if count else None
        for (count, zeros, nans, infs, subnormals), mean, rms, top in numbers
    ]


def _spreads(squares: Numbers, sizes: Numbers) -> list[Spread | None]:
    return [
        Spread(math.sqrt(total / count), -negative, high) if count else None
        for (count, total), (high, negative) in zip(squares.tolist(), sizes.tolist(), strict=True)
    ]


def _middles(sizes: Numbers) -> list[Spread | None]:
    """Of copies that are meant to be equal, the middle stands for all."""
    return [
        Spread((high - negative) / 2, -negative, high) if math.isfinite(high) else None
        for high, negative in sizes.tolist()
    ]


def _found(names: Sequence[str], spreads: list[Spread | None]) -> dict[str, Spread]:
    return {name: spread for name, spread in zip(names, spreads, strict=True) if spread is not None}
