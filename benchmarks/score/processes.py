"""Many runs at once, each in a process with one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed


def parallel(
    run: Callable[..., Any], work: Sequence[tuple[Any, ...]], jobs: int, ordered: bool = True
) -> Iterator[Any]:
    """`run(*arguments)` of each, in their order, or as they come."""
    pool: Any = Parallel(n_jobs=jobs, return_as="generator" if ordered else "generator_unordered")
    return pool(delayed(run)(*arguments) for arguments in work)
