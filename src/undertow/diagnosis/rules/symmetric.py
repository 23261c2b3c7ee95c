"""Layers whose units are all alike, and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.learning import learning
from undertow.diagnosis.needs import PATH, WIRING
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding, NotJudged
from undertow.record import Recording, Snapshot, Twins
from undertow.record.operations import FUSED

CURES = {"weights": ("matched_init", "orthogonal_init")}


@rule
@dataclass(frozen=True)
class Symmetric(Rule):
    """Every unit of a layer has another with the same weights and the same gradient: they can't become different.

    What
    ----
    Zero or constant initial weights, or copies of the same units: each unit of the layer has an equal one, in its
    weights and in its gradient.

    Why it hurts
    ------------
    Equal units with equal gradients stay equal in every step, so that the layer is as good as the few different units
    that it has.  Between two layers of zeros there is no gradient at all.  Both look like vanishing or like death.

    Evidence
    --------
    In the first measured steps, how many units of each weight differ from each other in weights and gradient (rows of
    a linear layer, channels of a convolution, gates of a cell).  Rows of an embedding are no units.

    Counter-evidence
    ----------------
    A head at zero, the last layer of a residual branch, or LoRA's B: their units have different gradients, and open in
    the first steps. What lies behind such a layer has no gradient until then, so that weights and gradients of zero
    are judged only once steps have changed something and no further layer has come to have a gradient. A layer of
    which half of the units differ, as of a net that was widened by doubling each unit, or one whose model learns all
    the same, has enough of them: that is a note.

    Cures
    -----
    Random initial weights.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), Learning internal representations by error propagation (symmetry breaking);
    Goodfellow, Bengio & Courville (2016), Deep Learning, 8.4.
    """

    kind = "symmetric"
    needs = (PATH, WIRING)

    steps: int = 3
    """Origin: a layer at zero in front of a head at zero opens in the second step; a third shows that none does."""
    lost: float = 0.5
    """Origin: half of a layer's width lost, as of dead units; a net that is doubled (Net2Net) has just lost none."""
    enough: float = 0.25
    """Origin: Cohen (1988) calls a correlation of one half between output and target a large effect; its square."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        assert recording.wiring is not None
        order = _layers(recording)
        twins = [t for t in recording.wiring.twins if _module(t.parameter) in order]
        if not twins:
            return
        if not any(t.moving for t in twins):
            early = [s for s in recording.snapshots if s.step <= recording.wiring.step and s.parameters]
            if self._opens(early):
                return
            if set(order) - {_module(t.parameter) for t in twins} and not self._stands(early):
                yield NotJudged(self.name, self.kind, "opening", {"needed": self.steps})
                return
        yield self._finding(recording, sorted(twins, key=lambda t: order[_module(t.parameter)]), order)

    def _opens(self, early: list[Snapshot]) -> bool:
        """Whether further weights have come to have a gradient: layers at zero open one after the other."""
        return any(_with_gradient(after) - _with_gradient(early[0]) for after in early[1:])

    def _stands(self, early: list[Snapshot]) -> bool:
        """Whether steps enough have changed something: a warm-up may begin with a rate of 0."""
        moved = [any(r.update and r.update.rms for r in s.parameters.values()) for s in early]
        return sum(moved) >= self.steps

    def _finding(self, recording: Recording, twins: list[Twins], order: dict[str, tuple[int, str]]) -> Finding:
        first = twins[0]
        least = min(t.kinds for t in twins)
        known = learning(recording)
        explained = known.share if known else 0.0
        enough = all(t.kinds >= self.lost * t.units for t in twins) or explained >= self.enough
        labels = tuple(dict.fromkeys(order[_module(t.parameter)][1] for t in twins))
        return Finding(
            kind="symmetric",
            severity="critical" if least == 1 else "note" if enough else "warning",
            cause="weights",
            where=labels[0],
            step=recording.snapshots[0].step,
            evidence=(
                Evidence("different_units", float(first.kinds), float(first.units), None, "twins"),
                Evidence("twin_layers", float(len(labels)), None, 0.0, "twins"),
            ),
            counter_evidence=(Evidence("explained", explained, None, self.enough, "enough_left"),),
            cures=CURES["weights"],
            values={"units": first.units, "kinds": first.kinds, "layers": len(labels)},
            sites=labels,
        )

    @staticmethod
    def sick() -> Example:
        model = mlp("tanh", depth=2, gain=1.0)
        for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
            nn.init.constant_(layer.weight, 0.05)
        return classify(model)

    @staticmethod
    def healthy() -> Example:
        return classify(_ZeroEnded())


class _ZeroEnded(nn.Module):
    """A residual block whose last layer is 0 at the start, behind it a head at 0: one opens after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4)
        for layer in (self.last, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.last(torch.relu(self.first(x))))


def _module(parameter: str) -> str:
    """The path of the module that a weight is of; `torch.nn.utils.parametrize` puts its own between."""
    return parameter.partition(".parametrizations.")[0] if ".parametrizations." in parameter else _owner(parameter)


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _layers(recording: Recording) -> dict[str, tuple[int, str]]:
    """By path, the place and the label of each module that multiplies with weights, where a gradient came to it."""
    found: dict[str, tuple[int, str]] = {}
    for snapshot in recording.snapshots:
        for place, entry in enumerate(snapshot.ledger):
            weighs = entry.site.effect == "weights" or entry.site.operation in FUSED
            if weighs and entry.forward.count:
                found.setdefault(entry.site.module, (place, entry.site.label))
    return found


def _with_gradient(snapshot: Snapshot) -> set[str]:
    return {n for n, r in snapshot.parameters.items() if r.gradient is not None and r.gradient.rms > 0}
