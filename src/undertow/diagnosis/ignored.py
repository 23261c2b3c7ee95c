"""Findings that the user knows and accepts: `dead:blocks.3.*`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import get_args

from undertow.foundation import Finding, Kind, UnknownNameError

KINDS: tuple[str, ...] = get_args(Kind)


def split_ignored(
    findings: Iterable[Finding], patterns: Sequence[str]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Findings that count, those that a pattern names, and the patterns that name none.

    A pattern is a kind, or a kind and a place with a colon between them, where * stands for any part of the name.  `*`
    as the kind is any kind.

    Raises
    ------
    UnknownNameError
        A pattern's kind is none of the vocabulary.
    """
    wanted = [_parsed(pattern) for pattern in patterns]
    counted, ignored, used = [], [], set()
    for finding in findings:
        hits = {i for i, (kind, place) in enumerate(wanted) if _names(kind, place, finding)}
        used |= hits
        (ignored if hits else counted).append(finding)
    return tuple(counted), tuple(ignored), tuple(p for i, p in enumerate(patterns) if i not in used)


def _parsed(pattern: str) -> tuple[str, str]:
    kind, _, place = pattern.partition(":")
    if kind not in (*KINDS, "*"):
        raise UnknownNameError(f"{pattern!r} among what to ignore", "KIND or KIND:PLACE", ", ".join(KINDS))
    return kind, place or "*"


def _names(kind: str, place: str, finding: Finding) -> bool:
    """The place as reports show it, `0 (linear)`, matches by its name alone too."""
    if kind not in ("*", finding.kind):
        return False
    return any(fnmatchcase(name, place) for name in (finding.where, finding.where.partition(" (")[0]))
