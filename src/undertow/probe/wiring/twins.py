"""Which weights have units that all have an equal one: the same weights, and the same gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.parameter import is_lazy

from undertow.probe.sharing.sharding import is_dtensor
from undertow.record import Twins
from undertow.record.names import module_names

ALIKE = 1e-4
"""Of the largest: float32 sums of a layer's inputs in another order differ by less, units that differ by more."""
EPSILON = torch.finfo(torch.float32).eps
ROWS = 128
"""Two runs of so many units are looked at first; where one of them is alone, the layer is left alone."""
UNITS_FIRST = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
ROWS_OF_THEIR_OWN = (nn.Embedding, nn.EmbeddingBag)
"""Rows that the data chooses are no units: those that no sample asks for are all alike."""


@dataclass(frozen=True)
class _Units:
    """A weight as a matrix with a row a unit."""

    name: str
    parameter: Tensor
    axis: int

    def rows(self, of: Tensor) -> Tensor:
        return of.detach().movedim(self.axis, 0).flatten(1)


class Alikes:
    """Looks at the weights of a model before an optimizer changes them; at the first look, and then at suspects."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._suspects: list[_Units] | None = None

    def look(self, multiplied: Collection[int]) -> tuple[Twins, ...]:
        """The weights whose units all have an equal one, in the model's order.

        `multiplied` has the ids of parameters with which something was multiplied: of a user's own module only those
        are weights.
        """
        if self._suspects is None:
            self._suspects = _suspects(_units(self._model, multiplied))
        found: dict[str, Twins] = {}
        lost = EPSILON * _largest(self._model) if self._suspects else 0.0
        for units in self._suspects:
            twins = _twins(units, lost)
            if twins is not None and twins.twins == twins.units:
                found.setdefault(twins.parameter, twins)
        return tuple(found.values())


def _units(model: nn.Module, multiplied: Collection[int]) -> Iterator[_Units]:
    names, seen = module_names(model), set[int]()
    for raw, module in model.named_modules():
        for last, p in module._parameters.items():
            if p is None or id(p) in seen:
                continue
            seen.add(id(p))
            if isinstance(module, ROWS_OF_THEIR_OWN) or not _is_looked_at(p):
                continue
            name = f"{names[raw]}.{last}" if names[raw] else last
            known = isinstance(module, UNITS_FIRST) or ".parametrizations." in name or id(p) in multiplied
            for axis in _axes(module, p) if known and p.numel() else ():
                if p.shape[axis] > 1:
                    yield _Units(name, p, axis)


def _is_looked_at(parameter: Tensor) -> bool:
    plain = not (is_lazy(parameter) or is_dtensor(parameter))
    return plain and parameter.requires_grad and parameter.is_floating_point()


def _axes(module: nn.Module, parameter: Tensor) -> tuple[int, ...]:
    """Where the units of a weight are; of one that a user multiplies with by hand, they may be in either."""
    if isinstance(module, _ConvTransposeNd):
        return (1,) if module.groups == 1 and parameter.ndim > 2 else ()
    if isinstance(module, UNITS_FIRST):
        return (0,) if parameter.ndim > 1 else ()
    return (0, 1) if parameter.ndim == 2 else ()


def _suspects(units: Iterator[_Units]) -> list[_Units]:
    """Those of which no unit that is looked at has weights of its own; layers of one size are looked at together."""
    together: dict[tuple[int, torch.device], list[tuple[_Units, Tensor]]] = defaultdict(list)
    for one in units:
        rows = one.rows(one.parameter)
        if len(rows) > 2 * ROWS:
            half = len(rows) // 2
            rows = torch.cat([rows[:ROWS], rows[half : half + ROWS]])
        together[len(rows), rows.device].append((one, _marks(rows)[:, 0]))
    found: list[_Units] = []
    for group in together.values():
        marks = torch.stack([m for _, m in group]).sort(1).values
        apart = marks.diff(dim=1) > ALIKE * marks.abs().amax(1, keepdim=True)
        edge = apart.new_ones(len(marks), 1)
        alone = (torch.cat([edge, apart], 1) & torch.cat([apart, edge], 1)).any(1)
        found += [one for (one, _), is_alone in zip(group, alone.tolist(), strict=True) if not is_alone]
    return found


def _largest(model: nn.Module) -> float:
    """The largest size of any value of the model's gradients."""
    found = (p.grad for p in model.parameters() if p.grad is not None and not p.grad.is_sparse and not is_dtensor(p))
    sizes = [g.detach().abs().amax().float() for g in found if g.numel()]
    return torch.stack([s.to(sizes[0].device) for s in sizes]).nan_to_num(0.0).max().item() if sizes else 0.0


def _twins(units: _Units, lost: float) -> Twins | None:
    """`lost`: a gradient this small is what rounding left of a sum that is 0."""
    gradient = units.parameter.grad
    if gradient is None or gradient.is_sparse:
        return None
    moving = bool(gradient.detach().abs().amax() > lost)
    gradient = gradient if moving else torch.zeros_like(gradient)
    marks = torch.cat([_marks(units.rows(units.parameter)), _marks(units.rows(gradient))], 1)
    if not marks.isfinite().all():
        return None
    size = marks.abs().amax(0).clamp(min=torch.finfo(marks.dtype).tiny)
    alike, kinds = torch.zeros(len(marks), dtype=torch.bool, device=marks.device), len(marks)
    for offset in (0.0, 0.5):  # two equal units may lie on either side of one grid's line, not of both
        _, place, count = (marks / size / ALIKE + offset).floor().unique(dim=0, return_inverse=True, return_counts=True)
        alike |= count[place] > 1
        kinds = min(kinds, len(count))
    return Twins(units.name, len(marks), int(alike.sum()), kinds, moving)


def _marks(rows: Tensor) -> Tensor:
    """Two numbers a row that are equal for equal rows, and as good as never else."""
    return rows.float() @ _directions(rows.shape[1]).to(rows.device)


@lru_cache(maxsize=16)
def _directions(width: int) -> Tensor:
    return torch.randn(width, 2, generator=torch.Generator().manual_seed(width))
