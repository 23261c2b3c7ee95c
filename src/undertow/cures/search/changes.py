"""What changes can be tried next: another rate, another optimizer, one more change of the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest

from undertow.cures.cure import Cure, chosen
from undertow.cures.search.together import Together
from undertow.cures.training import Training

Parts = tuple[Cure, ...]
SLOW, FAST = 1e-3, 1e-2
"""Usual rates of optimizers whose step is their rate: the default of Kingma and Ba (2014), arXiv:1412.6980, for large
networks, and ten times as much for small ones (the decade above, Bengio 2012, arXiv:1206.5533)."""
NORMALISED = {"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"}
"""Optimizers of torch whose step is about their rate, whatever the gradient."""
RATE = "learning_rate ×0.1"
REDRAWN = {"matched_init", "orthogonal_init"}
"""Cures that only draw weights anew: of two the second would undo the first, and a swap draws them itself."""


def parts(cure: Cure) -> Parts:
    return cure.parts if isinstance(cure, Together) else (cure,)


def joined(of: Parts) -> Cure:
    return of[0] if len(of) == 1 else Together(of)


def family(cure: Cure) -> object:
    """What kind of change it is: its base class, as `Swap`, or else its name.  One of a kind at a time."""
    base = type(cure).__mro__[1]
    return "weights" if cure.name in REDRAWN else cure.name if base is Cure else base


def rated(of: Parts, factor: float) -> Parts:
    """With the rate times this factor, on top of what its parts make of it."""
    (rate,) = chosen(RATE)
    total = factor * math.prod(asdict(p)["factor"] for p in of if p.name == rate.name)
    others = tuple(p for p in of if p.name != rate.name)
    return others if math.isclose(total, 1, rel_tol=1e-3) else (*others, replace(rate, factor=float(f"{total:.3g}")))


def usual(training: Training) -> list[Parts]:
    """The handlings under which a network trains whatever the size of its gradients: the usual rates of Adam, or of
    the user's optimizer where it is such a one and its rate is another."""
    adam = chosen("adam")
    if adam[0].applies(training) is None:
        return [adam, rated(adam, FAST / SLOW)]
    rate = float(training.optimizer.param_groups[0].get("lr", 0))
    if type(training.optimizer).__name__ not in NORMALISED or not rate:
        return []
    return [rated((), target / rate) for target in (SLOW, FAST) if abs(math.log10(target / rate)) > 0.5]


def spread(networks: Iterable[Cure]) -> list[Cure]:
    """The first of each kind of change, then the second ones: neighbours of one kind are much alike."""
    by_kind: dict[object, list[Cure]] = {}
    for network in networks:
        by_kind.setdefault(family(network), []).append(network)
    return [n for row in zip_longest(*by_kind.values()) for n in row if n is not None]


def fits(network: Cure, of: Parts) -> bool:
    """Whether it is a change of another kind than those that are there."""
    kinds = {family(p) for p in of}
    swapped = any(type(p).__mro__[1].__name__ == "Swap" for p in of)
    return family(network) not in kinds and not (network.name == "matched_init" and swapped)


def variants(training: Training, leader: Cure, networks: Sequence[Cure]) -> Iterator[Parts]:
    """Changes one step away from a leader: one more change of the network, another rate, another optimizer.

    Width first: it applies only to layers so narrow that luck decides over each, and seeds differ most (Lu et al. 2019,
    arXiv:1903.06733).
    """
    of = parts(leader)
    more = (_with(n, of) for n in sorted(spread(networks), key=lambda n: n.name != "wider") if fits(n, of))
    rates = iter([rated(of, 0.1), rated(of, 10.0)])
    optimizers = iter([] if any(p.name == "adam" for p in of) else [(*rated(of, 1), *u) for u in usual(training)[:1]])
    for row in zip_longest(more, rates, optimizers):
        yield from (one for one in row if one)


def _with(network: Cure, of: Parts) -> Parts:
    """Changes of the network come first, in the order in which they were found good."""
    changed = tuple(p for p in of if p.changes_network)
    return (*changed, network, *(p for p in of if not p.changes_network))
