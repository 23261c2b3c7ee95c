"""At which nodes of a planned graph to listen, and to what."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from undertow.probe.following.survey import Graph, Link, Part

Handed = tuple[Part, int]
"""What a part receives from one later stop."""


@dataclass(eq=False)
class Hook:
    """What is read at one node."""

    place: int
    own: list[tuple[int, Part]] = field(default_factory=list)
    """Of the gradients that come in, by output: all that a part receives."""
    handed: list[tuple[int, Handed]] = field(default_factory=list)
    """Of those that leave, by index: a share of what an earlier part receives."""
    pooled: list[tuple[int, Handed]] = field(default_factory=list)
    """The same, where the share is the sum over several edges."""

    pools: list[Part] = field(default_factory=list)
    """Of its own parts, those that receive pooled shares."""


def hooks_of(graph: Graph, whole: frozenset[Handed]) -> tuple[Hook, ...]:
    """The hooks for a graph in which some gradients are known to be all that their part receives."""
    hooks: dict[int, Hook] = {}

    def hook(place: int) -> Hook:
        return hooks.setdefault(place, Hook(place))

    for part, (place, output) in graph.parts.items():
        hook(place).own.append((output, part))
    shares: dict[Handed, list[Link]] = defaultdict(list)
    for link in graph.links:
        shares[link.earlier, link.later].append(link)
    for (part, later), links in shares.items():
        if len(links) > 1:
            for link in links:
                hook(link.place).pooled.append((link.at, (part, later)))
        elif (part, later) not in whole:
            hook(links[0].place).handed.append((links[0].at, (part, later)))
    pooled = {part for found in hooks.values() for _, (part, _) in found.pooled}
    for found in hooks.values():
        found.pools = [part for _, part in found.own if part in pooled]
    return tuple(hooks.values())
