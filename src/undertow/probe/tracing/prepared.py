"""Weights that are computed before they are used (weight norm, spectral norm, parametrizations): no signal, no site."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from undertow.probe.tracing.entries import Edge
from undertow.record.operations import FUSED, NORMALISATION, WEIGHTS, is_weight


class Prepared:
    """Knows which tensors of a forward pass are made of parameters alone."""

    def __init__(self) -> None:
        self._edges: set[Edge] = set()
        self._frozen: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        """Results without a gradient, by identity."""

    def is_one(self, args: tuple[Any, ...]) -> bool:
        """Whether a call reads parameters and what was made of them, and nothing else."""
        tensors = [a for a in args if isinstance(a, Tensor)]
        return bool(tensors) and all(map(self._is_weight, tensors))

    def is_one_in_layer(self, args: tuple[Any, ...], name: str) -> bool:
        """Whether a call in a layer of torch prepares its weight, with the help of buffers: the hook of spectral norm.

        The first layer's own operation, too, reads nothing else that takes a gradient.
        """
        trained = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        own = name in WEIGHTS or name in NORMALISATION or name in FUSED
        return not own and bool(trained) and all(map(self._is_weight, trained))

    def keep(self, output: Any) -> None:
        """The results of such a call."""
        for t in (t for t in tree_leaves(output) if isinstance(t, Tensor)):
            if t.grad_fn is None:
                self._frozen[id(t)] = t
            else:
                self._edges.add(Edge(t.grad_fn, t.output_nr))

    def _is_weight(self, t: Tensor) -> bool:
        if t.grad_fn is None:
            return is_weight(t) or self._frozen.get(id(t)) is t
        return is_weight(t) or Edge(t.grad_fn, t.output_nr) in self._edges

    @staticmethod
    def by(module: nn.Module) -> bool:
        """Whether all that this module computes is a weight."""
        return isinstance(module, ParametrizationList)
