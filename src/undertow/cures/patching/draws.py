"""Random numbers of a cure apart from those of the user's script, so that a patch can be compared with its trial.

A trial seeds the generators, lets `make` draw what it draws, seeds them again and applies the cure.  The patched script
draws for the cure in the middle of `make`.  To compare weight by weight, the text that is compared has the new lines
draw from the trial's own sequence and gives the script its own back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from undertow.cures.trials.seeding import random_state, random_state_kept, seed_everything, set_random_state

HOLDER = "__undertow__"
"""The name of a `Draws` among the globals of a module that is compared."""
Made = TypeVar("Made")


class Draws:
    """The sequence of random numbers from which a trial's cure draws."""

    def __init__(self, seed: int) -> None:
        with random_state_kept():
            seed_everything(seed)
            self._own = random_state()
        self._users = self._own

    def begin(self) -> None:
        self._users = random_state()
        set_random_state(self._own)

    def end(self) -> None:
        self._own = random_state()
        set_random_state(self._users)

    def instead(self, old: Callable[[], object], new: Callable[[], Made]) -> Made:
        """The new value, after the script has drawn for the old one."""
        old()
        self.begin()
        try:
            return new()
        finally:
            self.end()


def block(lines: str, indent: str) -> str:
    """Lines of code that draw from the trial's sequence."""
    return f"{indent}{HOLDER}.begin()\n{lines}{indent}{HOLDER}.end()\n"


def expression(old: str, new: str) -> str:
    return f"{HOLDER}.instead(lambda: ({old}), lambda: ({new}))"
