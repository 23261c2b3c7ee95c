"""Exact intervals of a share."""

from __future__ import annotations

from scipy.stats import beta


def clopper_pearson(hits: int, tries: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share of `hits` among `tries` (Clopper and Pearson 1934).

    Its ends are quantiles of Beta(hits, tries - hits + 1) and Beta(hits + 1, tries - hits): each end is the share
    under which so many hits, or so few, are as rare as (1 - level) / 2. Independent tries are assumed; seeds of one
    case are not, so the truth is a little wider.
    """
    if not 0 <= hits <= tries or tries == 0:
        raise ValueError(f"{hits} hits of {tries}")
    rare = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(rare, hits, tries - hits + 1))
    high = 1.0 if hits == tries else float(beta.ppf(1 - rare, hits + 1, tries - hits))
    return low, high
