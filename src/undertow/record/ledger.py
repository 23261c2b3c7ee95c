"""The backward pass as an account: by which factor the backward value changed from each site to the one before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from undertow.foundation import EFFECTS, Effect, UnknownNameError
from undertow.record.reading import Reading, Slope
from undertow.record.site import Site


@dataclass(frozen=True, slots=True)
class Entry:
    """One site, and what its operation does to the backward value on the way to the site before it.

    With δ the gradient of the loss with respect to a site's tensor and rms its size,

        factor = rms δ(previous) / rms δ(site) = activation · weights · normalisation · branching · other

    `branching` is what the other consumers of the previous tensor add (a residual connection); `other` is any
    operation that is none of the four (pooling, dropout, slicing, a product of two tensors), 1 in a plain net.
    The first site of a path has no previous one and all its factors are 1.
    """

    site: Site
    previous: Site | None
    forward: Reading
    backward: Reading
    activation: float = 1.0
    weights: float = 1.0
    normalisation: float = 1.0
    branching: float = 1.0
    other: float = 1.0
    slope: Slope | None = None
    on_path: bool = True
    """Whether the entry lies on the ledger's main path, the one with the most operations."""

    @property
    def forward_rms(self) -> float:
        return self.forward.rms

    @property
    def backward_rms(self) -> float:
        return self.backward.rms

    @property
    def factor(self) -> float:
        return math.prod(getattr(self, effect) for effect in EFFECTS)


class Ledger:
    """The entries of one backward pass, in the order of the forward pass.

    `entries` may be a function that makes them: it is called at the first look, for few of a run's ledgers get one.
    """

    def __init__(self, entries: tuple[Entry, ...] | Callable[[], tuple[Entry, ...]], step: int = 0) -> None:
        self._entries, self.step = entries, step

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        entries = self._entries() if callable(self._entries) else self._entries
        self._entries = entries
        return entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger) and (self.entries, self.step) == (other.entries, other.step)

    def __hash__(self) -> int:
        return hash((self.entries, self.step))

    def __repr__(self) -> str:
        return f"Ledger(entries={self.entries!r}, step={self.step})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Ledger, (self.entries, self.step)

    @cached_property
    def path(self) -> tuple[Entry, ...]:
        """The main path: its factors multiply to `end_to_end`."""
        return tuple(e for e in self.entries if e.on_path)

    @property
    def end_to_end(self) -> float:
        """Backward rms at the first site of the main path over that at its last: what the depth left."""
        if not self.path:
            return math.nan
        first, last = self.path[0].backward_rms, self.path[-1].backward_rms
        return first / last if last else math.nan

    @property
    def product(self) -> float:
        """The product of the factors of the main path."""
        return math.prod(e.factor for e in self.path)

    def total(self, effect: Effect) -> float:
        """The product of one kind of factor along the main path."""
        return math.prod(getattr(e, effect) for e in self.path)

    def mean(self, effect: Effect) -> float:
        """The geometric mean of one kind of factor over the operations of the main path that are of this kind."""
        factors = [getattr(e, effect) for e in self.path if e.previous and self._concerns(e, effect)]
        factors = [f for f in factors if math.isfinite(f)]  # 0/0: the gradient was gone before
        if not factors:
            return 1.0
        if min(factors) <= 0:
            return 0.0
        return math.exp(sum(map(math.log, factors)) / len(factors))

    @staticmethod
    def _concerns(entry: Entry, effect: Effect) -> bool:
        return entry.site.effect == effect or (effect == "branching" and entry.branching != 1.0)

    def count(self, effect: Effect) -> int:
        """How many operations of this kind lie on the main path."""
        return sum(e.site.effect == effect for e in self.path)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, site: str) -> Entry:
        """The entry of a site by its name (`act3#0`), which for the first call may go without its index (`act3`)."""
        found = next((e for e in self.entries if site in (e.site.name, e.site.short)), None)
        if found is None:
            near = get_close_matches(site, [e.site.short for e in self.entries], n=3, cutoff=0.3)
            raise UnknownNameError(
                f"the site {site!r}", f"one of {len(self)} sites", " or ".join(near) or "list(ledger)"
            )
        return found
