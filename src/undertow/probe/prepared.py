"""Weights that are computed before they are used (weight norm, spectral norm, parametrizations): no signal, no site."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from undertow.probe.entries import Edge
from undertow.probe.operations import NORMALISATION, WEIGHTS, is_weight


class Prepared:
    """Knows which tensors of a forward pass are made of parameters alone."""

    def __init__(self) -> None:
        self._edges: set[Edge] = set()

    def is_one(self, args: tuple[Any, ...], name: str, in_layer: bool) -> bool:
        """Whether a call makes a weight.

        `in_layer`: in a layer of torch, whose hooks prepare its weight from it and from buffers (spectral norm) before
        the layer's own operation, which also reads nothing else that takes a gradient where it is the first.
        """
        tensors = [a for a in args if isinstance(a, Tensor)]
        made = [self._is_weight(t) for t in tensors]
        if tensors and all(made):
            return True
        trained = [weight for t, weight in zip(tensors, made, strict=True) if t.requires_grad]
        return in_layer and name not in WEIGHTS and name not in NORMALISATION and bool(trained) and all(trained)

    def keep(self, output: Any) -> None:
        """The results of such a call."""
        found = (t for t in tree_leaves(output) if isinstance(t, Tensor))
        self._edges |= {Edge(t.grad_fn, t.output_nr) for t in found if t.grad_fn is not None}

    def _is_weight(self, t: Tensor) -> bool:
        return is_weight(t) or Edge(t.grad_fn, t.output_nr) in self._edges

    @staticmethod
    def by(module: nn.Module) -> bool:
        """Whether all that this module computes is a weight."""
        return isinstance(module, ParametrizationList)
