"""Maps of moments over one axis of positions, and back among the others."""

from __future__ import annotations

from torch import Tensor

from undertow.theory.signal import Signal


def along(x: Signal, letters: str, axis: str) -> Tensor:
    """E[x²], shape (groups, places): along the axis of this letter where it is one of positions; else (groups, 1)."""
    positions = [a for a, role in zip(letters, x.layout.roles, strict=True) if role == "P"]
    return _one(x.square, positions, axis)


def _one(moments: Tensor, positions: list[str], axis: str) -> Tensor:
    moments = moments.reshape(moments.shape[0], *moments.shape[1:])
    others = tuple(1 + i for i, a in enumerate(positions) if a != axis[:1])
    left = moments.mean(others) if others else moments
    return left if left.ndim == 2 else left.reshape(-1, 1)


def placed(moments: Tensor, letters: str, axis: str, roles: str) -> Tensor:
    """(groups, places) as a map over all positions of a tensor with these axes."""
    positions = [a for a, role in zip(letters, roles, strict=True) if role == "P"]
    if axis[:1] not in positions:
        moments = moments.mean(1, keepdim=True)
    return moments.reshape(-1, *(moments.shape[1] if a == axis[:1] else 1 for a in positions))


def fitting(moments: Tensor, to: Tensor) -> Tensor:
    """The mean over groups where the other tensor has other groups (an encoder's samples)."""
    return moments if moments.shape[0] in (1, to.shape[0]) or to.shape[0] == 1 else moments.mean(0, keepdim=True)


def mean_pair(x: Signal, role: str) -> float:
    """E[x x′] of two places along an axis of this role."""
    if role == "P":
        return x.pairs.positions
    return x.pairs.samples if role == "S" else float(x.mean.square().mean())
