"""The gradient of one rank before it is averaged with the others': what tells a bad rank from a bad model."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

KEPT = 2
"""Steps back that are still asked for: numbers of a GPU are read late."""


class Unreduced:
    """While armed, notes the norm of each parameter's gradient when the last backward pass has accumulated it.

    DDP and FSDP1 reduce after AccumulateGrad, so a hook inside it sees what this rank has computed: with `no_sync`
    the sum over the passes, before the division by the number of ranks.
    """

    def __init__(self, parameters: list[Tensor], guard: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._parameters, self._hook = parameters, guard(self._note)
        self._norms: dict[int, dict[int, Tensor]] = {}
        self._handles: list[Any] = []
        self._step = -1

    def arm(self, step: int) -> None:
        """Notes what comes from now on as that of this step."""
        self._step = step
        self._norms = {s: n for s, n in self._norms.items() if s >= step - KEPT}
        self._norms.setdefault(step, {})
        if not self._handles:
            self._handles = [p.register_post_accumulate_grad_hook(self._hook) for p in self._parameters]

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def norm(self, step: int, parameters: Collection[Tensor]) -> float:
        """Of these parameters together, of all where none is known as it is (a flat one); NaN where nothing came."""
        known = self._norms.get(step, {})
        norms = [known[id(p)] for p in parameters if id(p) in known] or list(known.values())
        return torch.stack([n.cpu() for n in norms]).norm().item() if norms else math.nan

    def _note(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is not None:
            values = gradient.coalesce().values() if gradient.is_sparse else gradient
            self._norms[self._step][id(parameter)] = torch.linalg.vector_norm(values, dtype=torch.float64)
