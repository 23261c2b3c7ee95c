"""Cures as a user names them: alone, or several at once with a plus between them."""

from __future__ import annotations

from collections.abc import Iterable

from undertow.cures.cure import Cure, chosen
from undertow.cures.search.together import Together
from undertow.foundation import InputError


def asked_for(names: Iterable[str | Cure] | str | Cure) -> tuple[Cure, ...]:
    """As `chosen`; "relu + adam" is the two together, as the label of a verdict has it.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    InputError
        A part of several settings, as `learning_rate`, or one of `chosen`'s.
    """
    given = [names] if isinstance(names, str | Cure) else names
    return chosen(_together(name) if isinstance(name, str) and "+" in name else name for name in given)


def _together(name: str) -> Cure:
    parts = [chosen([part.strip()]) for part in name.split("+")]
    for part in parts:
        if len(part) > 1:
            raise InputError(
                f"{part[0].name!r} in {name!r}, which has several settings", "one of them", f"{part[0].label!r}"
            )
    return Together(tuple(one for (one,) in parts))
