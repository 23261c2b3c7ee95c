"""What moving values does to samples, positions and units."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.theory.laws.origins import Origins, strides
from undertow.theory.signal import Layout, Pairs


class Way(NamedTuple):
    """From the layout of x to that of y; the grid is made of the axes of y that run along positions of x."""

    layout: Layout
    """Of y."""
    positions: tuple[int, ...]
    """Of x."""
    places: Tensor
    """Over the grid, flat indices of the positions of x."""
    targets: tuple[int | None, ...]
    """Per axis of the grid, which of y's positions it is; None where positions became units or samples."""
    keeps_samples: bool
    all_alike: bool
    """Whether every position of x is taken equally often."""
    kept: Pairs
    """Per kind of pair of places, E[δx δx′] / E[δy δy′]."""
    mixes: tuple[float, float, float] | None
    """Shares of the kinds of pairs of x among the pairs of samples of y, where positions became samples."""

    def place(self, moments: Tensor) -> Tensor:
        """A map over x's positions as one over y's; a mean over positions that became units or samples."""
        groups = moments if self.keeps_samples else moments.mean(0, keepdim=True)
        if groups[0].numel() == 1:
            return groups.reshape(-1, *[1] * len(self.layout.positions))
        flat = groups.expand(-1, *self.positions).flatten(1)
        chosen = flat[:, self.places.reshape(-1)].reshape(-1, *self.places.shape)
        gone = [1 + i for i, target in enumerate(self.targets) if target is None]
        chosen = chosen.mean(gone) if gone else chosen
        shape = [1] * len(self.layout.positions)
        for size, target in zip(chosen.shape[1:], (t for t in self.targets if t is not None), strict=True):
            shape[target] = size
        return chosen.reshape(-1, *shape)

    def hand_back(self, square: Tensor, share: float) -> Tensor:
        """A map over y's positions as the sum at each of x's; `share` values of y there are to one of x."""
        groups = square if self.keeps_samples else square.mean(0, keepdim=True)
        if groups[0].numel() == 1 and self.all_alike:
            return groups.reshape(-1, *[1] * len(self.positions)) * share
        new = [1 + i for i in range(len(self.layout.positions)) if i not in self.targets]
        groups = groups.mean(new, keepdim=True) if new else groups
        sizes = [1 if t is None else groups.shape[1 + t] for t in self.targets]
        on_grid = groups.reshape(-1, *sizes).expand(-1, *self.places.shape)
        total = math.prod(self.positions)
        back = torch.zeros(on_grid.shape[0], total, dtype=square.dtype)
        back.index_add_(1, self.places.reshape(-1), on_grid.reshape(on_grid.shape[0], -1))
        return (back * (share * total / max(self.places.numel(), 1))).reshape(-1, *self.positions)

    def pairs(self, pairs: Pairs) -> Pairs:
        """Products of two places of y, which are places of x."""
        if self.mixes is None:
            return pairs
        mixed = sum(p * share for p, share in zip(pairs, self.mixes, strict=True))
        return Pairs(mixed, mixed, mixed)

    def pairs_back(self, pairs: Pairs) -> Pairs:
        return Pairs(*(p * share for p, share in zip(pairs, self.kept, strict=True)))


def way(origins: Origins, source: Layout) -> Way:
    fine = source.apart
    along = [origins.along(a, fine.shape) for a in range(len(origins.shape))]
    merged = _merged(origins, fine, along)
    layout = Layout(origins.shape, _roles(origins, fine, along), merged)
    places, targets = _grid(origins, fine, along, layout)
    positions = tuple(n for n, r in zip(fine.shape, fine.roles, strict=True) if r == "P")
    taken = torch.bincount(places.reshape(-1), minlength=math.prod(positions))
    samples = _distinct(origins, fine, along, "S")
    lost = None in targets
    as_samples = lost and any(layout.roles[a] == "S" and _touches(fine, along[a], "P") for a in range(len(along)))
    return Way(
        layout=layout,
        positions=positions,
        places=places,
        targets=targets,
        keeps_samples=samples == fine.count("S"),
        all_alike=bool((taken == taken[0]).all()),
        kept=_kept(origins, fine, samples, int((taken > 0).sum()), lost),
        mixes=_mixes(fine) if as_samples else None,
    )


def _touches(source: Layout, axes: tuple[int, ...], role: str) -> bool:
    return any(source.roles[a] == role for a in axes)


def _distinct(origins: Origins, source: Layout, along: list[tuple[int, ...]], role: str) -> int:
    """How many samples (say) of x there are in y."""
    inside = (n for n, axes in zip(origins.shape, along, strict=True) if _touches(source, axes, role))
    return min(source.count(role), math.prod(inside)) if source.count(role) > 1 else 1


def _merged(origins: Origins, source: Layout, along: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Sizes of the positions that the first axis of y holds behind all samples."""
    axes = along[0] if along else ()
    if len(axes) < 2 or source.roles[axes[0]] != "S" or any(source.roles[a] != "P" for a in axes[1:]):
        return ()
    sizes = tuple(source.shape[a] for a in axes[1:])
    size = math.prod(sizes)
    if origins.shape[0] != size * source.shape[axes[0]]:
        return ()
    coordinates = origins.coordinates(origins.grid((0,))[:size], source.shape)
    in_order = sum(coordinates[a] * step for a, step in zip(axes[1:], strides(sizes), strict=True))
    first = not coordinates[axes[0]].any()
    return sizes if first and torch.equal(torch.as_tensor(in_order), torch.arange(size)) else ()


def _roles(origins: Origins, source: Layout, along: list[tuple[int, ...]]) -> str:
    """Units swallow what is merged with them, samples swallow positions.

    Axes of length 1 are those of x, by their strides and else in order.  A new axis counts samples in the first place
    where nothing else does, else positions.
    """
    found = [next((r for r in "FSP" if _touches(source, axes, r)), "") for axes in along]
    left = [a for a, n in enumerate(source.shape) if n == 1]
    single = [i for i, role in enumerate(found) if not role and origins.shape[i] == 1]
    in_order = len(left) == len(single)
    for i in single:
        step = origins.steps[i] if origins.steps else None
        match = next((a for a in left if in_order or strides(source.shape)[a] == step), None)
        if match is not None:
            left.remove(match)
            found[i] = source.roles[match]
    for i, role in enumerate(found):
        found[i] = role or ("S" if i == 0 and "S" not in found else "P")
    return "".join(found)


def _grid(
    origins: Origins, source: Layout, along: list[tuple[int, ...]], layout: Layout
) -> tuple[Tensor, tuple[int | None, ...]]:
    axes = [a for a, found in enumerate(along) if _touches(source, found, "P")]
    coordinates = origins.coordinates(origins.grid(axes), source.shape)
    positions = [a for a, r in enumerate(source.roles) if r == "P"]
    places = torch.zeros((), dtype=torch.long)
    for a, step in zip(positions, strides([source.shape[a] for a in positions]), strict=True):
        places = places + coordinates[a] * step
    merged = len(layout.merged)
    targets: list[int | None] = [
        merged + layout.roles[:a].count("P") if layout.roles[a] == "P" else None
        for a in axes
        if not (merged and a == 0)
    ]
    if merged:  # of its samples the first will do
        places = places[: math.prod(layout.merged)].reshape(*layout.merged, *places.shape[1:])
        targets = [*range(merged), *targets]
    return places, tuple(targets)


def _kept(origins: Origins, source: Layout, samples: int, chosen: int, lost: bool) -> Pairs:
    """Pairs of places that y doesn't hold count as 0; where positions became units, two of them have nothing in
    common."""
    all_samples, positions = source.count("S"), source.count("P")
    sample, place = samples / max(all_samples, 1), chosen / max(positions, 1)
    units = math.prod(origins.shape) / max(math.prod(origins.source), 1) / (sample * place)
    two_samples = sample * (samples - 1) / max(all_samples - 1, 1)
    two_places = 0.0 if lost else place * (chosen - 1) / max(positions - 1, 1)
    return Pairs(units * two_samples * place, units * sample * two_places, units * two_samples * two_places)


def _mixes(source: Layout) -> tuple[float, float, float]:
    samples, positions = source.count("S"), source.count("P")
    rows = max(samples * positions - 1, 1)
    return (samples - 1) / rows, (positions - 1) / rows, (samples - 1) * (positions - 1) / rows
