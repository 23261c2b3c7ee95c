"""One case, measured and foretold."""

from __future__ import annotations

from pathlib import Path

from benchmarks.forecast_accuracy.cases import Case
from benchmarks.forecast_accuracy.compare import Pair
from benchmarks.forecast_accuracy.foresight import foretell
from benchmarks.forecast_accuracy.rows import Line, judge
from benchmarks.forecast_accuracy.truth import measured


def run(case: Case, seeds: int, kept: Path | None) -> Line:
    """Of the seeds 0 to `seeds` − 1; what was measured is kept in `kept`, as `truth.measured` says."""
    truth = measured(case, seeds, kept)
    return judge(case, [Pair(m, foretell(case.build(seed))) for seed, m in enumerate(truth)])
