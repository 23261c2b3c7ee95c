"""Numbers in a report: exact ones for diagrams, and places on a log scale for bars."""

from __future__ import annotations

import math


def exact(value: float) -> str:
    """Seven significant digits that `float` reads back, for the numbers of a diagram."""
    return f"{value:.7g}"


def position(value: float, low: float, high: float) -> float:
    """(log value − log low) / (log high − log low), kept in 0 to 1; 0 for a size that is 0 or unknown."""
    if math.isnan(value) or value <= 0:
        return 0.0
    if math.isinf(value) or low >= high:
        return 1.0
    return min(max((math.log(value) - math.log(low)) / (math.log(high) - math.log(low)), 0.0), 1.0)
