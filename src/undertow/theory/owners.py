"""Which of the model's parameters each tensor of a forward pass is computed with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Owners:
    """Follows parameters through what is computed of them alone: a weight's norm, two matrices multiplied."""

    def __init__(self, model: nn.Module) -> None:
        self._names: dict[int, tuple[str, ...]] = {id(p): (name,) for name, p in model.named_parameters()}
        self.trained = tuple(name for name, p in model.named_parameters() if p.requires_grad)
        self._trained = frozenset(self.trained)
        self._kept: list[Tensor] = []

    def of(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for t in tensors for name in self._names.get(id(t), ())))

    def trains(self, names: Iterable[str]) -> bool:
        """Whether an optimizer may train one of these; of a model that is frozen as a whole, as if it were not."""
        return bool(self._trained.intersection(names)) if self.trained else True

    def pass_on(self, operation: str, tensors: Iterable[Tensor], output: Any) -> None:
        """Notes that `output` is computed with what these tensors are, unless that cuts it off."""
        names = self.of(tensors)
        if not names or operation == "detach":
            return
        for made in tree_leaves(output):
            if isinstance(made, Tensor) and id(made) not in self._names:
                self._names[id(made)] = names
                self._kept.append(made)  # a tensor that is freed leaves its id to another
