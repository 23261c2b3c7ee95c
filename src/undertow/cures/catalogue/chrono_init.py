"""Gates whose forgetting times cover the sequence."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.remembering import KEEPING, chrono_, lengths
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("chrono_init", "chrono")
@dataclass(frozen=True)
class ChronoInit(Cure):
    """b ← ln u with u ~ U(1, T − 1) for the gate of each unit of an LSTM or GRU that keeps its state.

    When: an LSTM or GRU does not learn what lies tens or hundreds of steps back.
    Why: torch's gates begin at σ(0) = 1/2 and forget within two steps; a gate at σ(ln u) forgets over about u steps.
    Not: tasks that need the last few steps only; sequences much longer than those seen when it is applied.

    Source: Tallec and Ollivier (2018), Can recurrent neural networks warp time?, arXiv:1804.11188.
    """

    name = "chrono_init"
    reference = Reference("Tallec and Ollivier", 2018, "Can recurrent neural networks warp time?", "1804.11188")
    treats = ("vanishing",)
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if self._steps(training) else say("cures.refused.no_gates")

    def change(self, training: Training) -> None:
        chrono_(training.model, self._steps(training))

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.remembering import chrono_\n\n"
            f"# {say('cures.patch.lengths')}\nchrono_(model, {self._steps(training)!r})\n"
        )

    @staticmethod
    def _steps(training: Training) -> dict[str, int]:
        found = {name: length for name, length in lengths(training).items() if length > 2}
        layers = {name: training.model.get_submodule(name) for name in found}
        return {n: found[n] for n, layer in layers.items() if isinstance(layer, tuple(KEEPING)) and layer.bias}
