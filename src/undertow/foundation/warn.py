"""Warnings that never become errors in the user's training."""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """Warns, once a place as warnings do; where the program has made warnings errors, the message is printed."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=4)
    except RuntimeWarning:
        told_instead(message)


def told_instead(message: str) -> None:
    print(message, file=sys.stderr)
