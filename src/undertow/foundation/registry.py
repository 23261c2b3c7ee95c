"""A registry is a dict with a decorator, and an error that names the nearest entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from undertow.foundation.errors import UnknownNameError

T = TypeVar("T")


def normalised(name: str) -> str:
    """`Leaky-ReLU`, `leaky_relu` and `leakyrelu` are one name."""
    return "".join(c for c in name.lower() if c.isalnum())


class Registry(Generic[T]):
    """Names (case, `-`, `_` and spaces ignored) to entries, in the order of registration."""

    def __init__(self, what: str, listing: str) -> None:
        """`what` names an entry in errors ("activation"), `listing` is the command that lists them all."""
        self.what, self.listing = what, listing
        self._entries: dict[str, T] = {}
        self._by_name: dict[str, T] = {}

    def add(self, name: str, entry: T, aliases: tuple[str, ...] = ()) -> T:
        for n in (name, *aliases):
            if self._by_name.setdefault(normalised(n), entry) is not entry:
                raise ValueError(f"two {self.what}s named {n!r}")
        self._entries[name] = entry
        return entry

    def remove(self, name: str) -> None:
        """Forget the entry of this name, and its aliases."""
        entry = self[name]
        self._entries = {n: e for n, e in self._entries.items() if e is not entry}
        self._by_name = {n: e for n, e in self._by_name.items() if e is not entry}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        return lambda entry: self.add(name, entry, aliases)

    def __getitem__(self, name: str) -> T:
        try:
            return self._by_name[normalised(name)]
        except KeyError:
            near = get_close_matches(normalised(name), self._by_name, n=3, cutoff=0.5)
            nearest_first = [n for m in near for n, e in self._entries.items() if self._by_name[m] is e]
            known = list(dict.fromkeys(nearest_first))
            raise UnknownNameError(
                f"the {self.what} {name!r}",
                f"one of {len(self._entries)} known names",
                f"{' or '.join(repr(n) for n in known)} ({self.listing} lists all)" if known else self.listing,
            ) from None

    def __contains__(self, name: str) -> bool:
        return normalised(name) in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> list[tuple[str, T]]:
        return list(self._entries.items())
