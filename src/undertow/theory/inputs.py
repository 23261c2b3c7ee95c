"""What a model is given: its arguments, and what the axes of an input mean."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def roles_of_input(value: Tensor, first: str) -> str:
    """Samples first, units last; after samples where a convolution reads it, or where it has four axes and more."""
    if value.ndim == 0:
        return ""
    if value.ndim == 1:
        return "F"
    if value.ndim > 3 or "Conv" in first:
        return "SF" + "P" * (value.ndim - 2)
    return "S" + "P" * (value.ndim - 2) + "F"


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, dict):
        return (), dict(inputs)
    if hasattr(inputs, "keys") and hasattr(inputs, "data"):  # a BatchEncoding of transformers
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}
