"""An architecture as theory sees it: operations with the numbers of their weights, and what each is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from undertow.record import Site
from undertow.theory.laws.base import Law


class Node(NamedTuple):
    """One tensor of the forward pass: the law of the operation that makes it, and the nodes that it is made from."""

    law: Law
    inputs: tuple[int, ...]
    """Indices of earlier nodes."""
    site: Site | None = None
    """None where the operation only moves values."""
    parameters: tuple[str, ...] = ()
    """Names of the model's parameters that it is computed with."""
    first: int | None = None
    """Of a further output of the same call, the index of the first, which has the site of all of them."""


@dataclass
class Blueprint:
    """Nodes in the order of the forward pass; the last of `outputs` is what the loss is taken of."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    parameters: int = 0
    """Numbers in all of the model's parameters."""
    trained: tuple[str, ...] = ()
    """Names of the parameters that an optimizer may train."""
    equal: dict[str, str] = field(default_factory=dict)
    """Per weight matrix, the name of the first one of the same values."""

    def add(self, law: Law, *inputs: int, site: Site | None = None, parameters: tuple[str, ...] = ()) -> int:
        """The index of the new node."""
        self.nodes.append(Node(law, inputs, site, parameters))
        return len(self.nodes) - 1

    @property
    def sites(self) -> Iterator[tuple[int, Site]]:
        return ((i, n.site) for i, n in enumerate(self.nodes) if n.site is not None)

    def readers(self) -> list[list[int]]:
        """Per node the nodes that it is an input of."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                found[source].append(index)
        return found
