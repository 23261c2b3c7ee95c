"""A long list of sites, with equal blocks told once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from undertow.theory.forecast import SiteForecast

MOST = 24
"""Sites that are all shown; a longer list is folded.  About a screen; ours."""
LONGEST = 200
"""Sites of the longest block that is looked for; ours."""


class Folded(NamedTuple):
    """Sites left out: `blocks` blocks like the one above, or 0 where nothing repeats."""

    blocks: int
    sites: int
    factor: float
    """Of the backward value over one block (over all that is left out, where nothing repeats)."""


def folded(sites: Sequence[SiteForecast], most: int = MOST) -> list[SiteForecast | Folded]:
    """The sites, of each run of equal blocks (the same operations in the same order) the first and the last one."""
    if len(sites) <= most:
        return list(sites)
    start, period, blocks = _repeats([(s.site.operation, s.effect) for s in sites])
    if blocks < 3:
        third = most // 3
        hidden = sites[third:-third]
        return [*sites[:third], Folded(0, len(hidden), _over(hidden[0], sites[-third])), *sites[-third:]]
    second, last, end = start + period, start + (blocks - 1) * period, start + blocks * period
    each = _over(sites[second], sites[last]) ** (1 / (blocks - 2))
    fold = Folded(blocks - 2, last - second, each)
    return [*folded(sites[:start], most), *sites[start:second], fold, *sites[last:end], *folded(sites[end:], most)]


def _over(earlier: SiteForecast, later: SiteForecast) -> float:
    return earlier.backward_rms / later.backward_rms if later.backward_rms else float("nan")


def _repeats(kinds: Sequence[object]) -> tuple[int, int, int]:
    """Start, length of a block, and number of blocks of the run of equal blocks that leaves out the most."""
    best, saved = (0, 1, 1), 0
    for period in range(1, min(len(kinds) // 3, LONGEST) + 1):
        run = 0
        for i in range(len(kinds) - period):
            run = run + 1 if kinds[i] == kinds[i + period] else 0
            blocks = run // period + 1
            if (blocks - 2) * period > saved:
                # a run may go on for a part of a block: what counts are whole ones from its start
                best, saved = (i - run + 1, period, blocks), (blocks - 2) * period
    return best
