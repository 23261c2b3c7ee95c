"""Hidden layers made wider, wherever their width is their own affair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.fx import GraphModule, Node

from undertow.cures.surgery.normalise import NORMS
from undertow.cures.surgery.pathways import (
    ADDS,
    PRODUCTS,
    graph_of,
    is_flat,
    is_passive,
    is_pointwise,
    is_scaled,
    module_of,
    tensors,
)

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
COUNTS = ("num_features", "num_channels", "num_parameters")
"""Attributes in which normalisations and PReLU keep the number of features."""


@dataclass(frozen=True)
class Widths:
    """What has to be resized for wider hidden layers."""

    outputs: Mapping[str, int]
    """Layers whose output becomes wider, with the width that it has."""
    inputs: tuple[str, ...]
    """Layers whose input becomes wider."""
    between: tuple[str, ...]
    """Modules between them with a number for each feature."""
    reason: str = ""
    """Why the ways through the model are not known."""


def widths(model: nn.Module) -> Widths:
    """The hidden layers that can be wider: what they give goes to other layers only, through what keeps features apart.

    Features that end in the output, or in anything that is not known to treat them one by one, keep their number; and
    so do all that are added to such.
    """
    graph, reason = graph_of(model)
    if graph is None:
        return Widths({}, (), (), reason)
    groups = _Groups()
    for node in graph.graph.nodes:
        _join(graph, node, groups)
    layers = {str(n.target): (groups.wide(n), groups.wide(tensors(n)[0])) for n in _calls(graph, LAYERS)}
    outputs = {name: len(graph.get_parameter(f"{name}.weight")) for name, (out, _) in layers.items() if out}
    between = {str(n.target) for n in _calls(graph, (*NORMS, nn.PReLU)) if groups.wide(n)}
    return Widths(outputs, tuple(name for name, (_, given) in layers.items() if given), tuple(sorted(between)))


def widen_(model: nn.Module, factor: int) -> None:
    """Every hidden layer that can be is `factor` times as wide, in place; its weights must be drawn anew."""
    found = widths(model)
    for name in {*found.outputs, *found.inputs}:
        outputs, inputs = (factor if name in names else 1 for names in (found.outputs, found.inputs))
        _resize(model.get_submodule(name), outputs, inputs)
    for name in found.between:
        _repeat(model.get_submodule(name), factor)


@dataclass
class _Groups:
    """Tensors that must have the same number of features (union-find), and those whose number is given."""

    above: dict[object, object] = field(default_factory=dict)
    fixed: set[object] = field(default_factory=set)

    def root(self, one: object) -> object:
        while one in self.above:
            one = self.above[one]
        return one

    def join(self, one: object, other: object) -> None:
        one, other = self.root(one), self.root(other)
        if one is not other:
            self.above[one] = other
            if one in self.fixed:
                self.fixed.add(other)

    def fix(self, *ones: object) -> None:
        self.fixed.update(self.root(one) for one in ones)

    def wide(self, one: object) -> bool:
        return self.root(one) not in self.fixed


def _join(graph: GraphModule, node: Node, groups: _Groups) -> None:
    """What a node asks of the numbers of features."""
    given, module = tensors(node), module_of(graph, node)
    if isinstance(module, LAYERS) and type(module) in LAYERS and _own(graph, module):
        # a layer that is called twice has one width on each side
        groups.join(node, ("out", module))
        groups.join(given[0], ("in", module))
        if isinstance(module, nn.Linear) or module.groups == 1:
            return
        groups.fix(node, given[0])
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
        groups.fix(node, *given)
    elif is_pointwise(graph, node) or is_passive(graph, node) or is_scaled(node) or is_flat(graph, node):
        groups.join(node, given[0])
        groups.fix(*given[1:])
    elif node.target in (*ADDS, *PRODUCTS):
        for other in given:
            groups.join(node, other)
    else:
        groups.fix(node, *given)


def _own(graph: GraphModule, module: nn.Module) -> bool:
    """Whether its weights are parameters of its own, and those of no other module."""
    own = dict(module.named_parameters(recurse=False))
    others = [m for m in graph.modules() if m is not module]
    return "weight" in own and not any(p is q for m in others for p in m._parameters.values() for q in own.values())


def _calls(graph: GraphModule, kinds: tuple[type[nn.Module], ...]) -> Iterator[Node]:
    yield from (node for node in graph.graph.nodes if isinstance(module_of(graph, node), kinds))


def _resize(layer: nn.Module, outputs: int, inputs: int) -> None:
    assert isinstance(layer, LAYERS)
    old = layer.weight
    shape = (old.shape[0] * outputs, old.shape[1] * inputs, *old.shape[2:])
    layer.weight = nn.Parameter(old.new_zeros(shape), old.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_zeros(shape[0]), layer.bias.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape[:2]
    else:
        layer.out_channels, layer.in_channels = shape[:2]


@torch.no_grad()
def _repeat(module: nn.Module, factor: int) -> None:
    for name in COUNTS:
        if (count := vars(module).get(name, 1)) > 1:
            vars(module)[name] = count * factor
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = (module.normalized_shape[0] * factor,)
    for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if value.dim() == 1 and len(value) > 1:
            wider = value.repeat(factor)
            learnt = isinstance(value, nn.Parameter)
            setattr(module, name, nn.Parameter(wider, value.requires_grad) if learnt else wider)
