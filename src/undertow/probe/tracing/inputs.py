"""What a model is given in a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from undertow.native import statistics
from undertow.record import Reading


@dataclass(eq=False)
class Inputs:
    """The first floating point tensor that goes into a module, and the number of samples in a pass."""

    samples: int = 0
    reading: Reading | None = None

    def note(self, args: tuple[Any, ...]) -> None:
        """The arguments of one module after the other, from the model on."""
        if self.reading is not None:
            return
        leaves = args if len(args) == 1 and type(args[0]) is Tensor else tree_leaves(args)
        tensors = [a for a in leaves if isinstance(a, Tensor) and a.ndim]
        if tensors:
            self.samples = tensors[0].shape[0]
            floating = [t for t in tensors if t.is_floating_point()]
            self.reading = Reading(*statistics(floating[0])) if floating else None
