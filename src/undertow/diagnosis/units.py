"""Which units of a layer fired, over the measured steps of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.record import Entry, Recording


@dataclass(frozen=True)
class Units:
    """The units of one activation; dead are those whose derivative is 0 for every sample until the end."""

    entry: Entry
    count: int
    dead: float
    """Their share at the end."""
    born: float
    """The share that was silent in all of the first five measured steps."""
    since: int
    """The first measured step from which on as many units were silent as make the layer one to report."""
    samples: int
    """How many samples were seen since then."""

    @property
    def label(self) -> str:
        return self.entry.site.label

    def by_chance(self, rate: float) -> float:
        """At most how probable it is that so many units are silent for so many samples if each fires at this rate.

        Chernoff's bound of a binomial tail, exp(-n KL(k/n ‖ p)) with p = (1 - rate)^samples.
        """
        silent = (1 - rate) ** self.samples
        if self.dead <= silent or not silent:
            return float(self.dead <= silent)
        rest = (1 - self.dead) * math.log((1 - self.dead) / (1 - silent)) if self.dead < 1 else 0.0
        return math.exp(-self.count * (self.dead * math.log(self.dead / silent) + rest))


def followed(recording: Recording, entry: Entry, unlikely: float, share: float) -> Units | None:
    """The units of an activation; None where they were not followed.

    `unlikely` and `share` are how improbable a silence must be (see `dead`), and what share of the layer is to report.
    """
    name = entry.site.name
    steps = [s for s in recording.snapshots if name in s.alive]
    steps = [s for s in steps if s.alive[name].shape == steps[-1].alive[name].shape]
    if not steps or not steps[-1].alive[name].numel():
        return None
    alive = torch.stack([s.alive[name].bool() for s in steps])
    silent_from = dead(alive, unlikely)
    gone = silent_from[silent_from < len(steps)].sort().values
    enough = math.ceil(share * alive.shape[1])
    since = int(gone[enough - 1]) if len(gone) >= enough else len(steps) - 1
    each = entry.forward.count // alive.shape[1]  # an expert sees a part of the batch
    return Units(
        entry,
        alive.shape[1],
        len(gone) / alive.shape[1],
        (~alive[:5].any(0)).float().mean().item(),
        steps[since].step,
        sum(s.samples if s.stage.passes > 1 else min(s.samples, each) for s in steps[since:]),
    )


def dead(alive: Tensor, unlikely: float) -> Tensor:
    """Per unit, the place of the step from which on it is dead; the number of steps where it is not.

    `alive` tells of (measured steps, units) whether a unit fired.  Dead is one that never fired, and one that fired and
    is silent for longer than its own rate explains: after k of n steps, counted to the last one with k, it is taken to
    fire in (k + 1) / (n + 2) of the steps (Laplace's rule of succession), and that all steps since then are silent must
    be less probable than `unlikely`.  Of a layer that is silent as a whole the units are taken together.
    """
    steps = len(alive)
    until = (alive * torch.arange(1, steps + 1)[:, None]).amax(0)
    rate = (alive.sum(0) + 1) / (until + 2)
    chance = (1 - rate) ** (steps - until)
    together = not alive[-1].any() and bool(chance.prod() <= unlikely)
    is_dead = (until == 0) | (chance <= unlikely) | together
    return torch.where(is_dead, until, steps)
