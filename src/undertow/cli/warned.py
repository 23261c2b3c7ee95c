"""Each warning of the user's code once, however many seeds run it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def warned_once() -> Iterator[None]:
    """Python forgets what it has shown when a filter changes, which it does with every model that is read."""
    seen: set[tuple[str, type[Warning], str, int]] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def once(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            key = (str(message), category, filename, lineno)
            if key not in seen:
                seen.add(key)
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = once
        yield
