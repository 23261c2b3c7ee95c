"""Parameters that get gradients and that no optimizer steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH, STEPS, WIRING
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording

CURES: dict[Cause, tuple[str, ...]] = {"graph": ("hold_all",)}


@rule
@dataclass(frozen=True)
class Unheld(Rule):
    """A layer has a gradient that nobody uses: the optimizer does not hold its parameters.

    What
    ----
    Trainable parameters with gradients, in no optimizer that has stepped: layers that were added or replaced after the
    optimizer was made, or were left out of its list.

    Why it hurts
    ------------
    They stay as they were initialised, though everything looks as if they were trained.

    Evidence
    --------
    The optimizers' own lists; and whether one of them holds, in the parameter's place, a tensor of its shape that is
    no longer the model's and that no gradient reaches.

    Counter-evidence
    ----------------
    A fine-tuned head, or adapters, before which everything is left out: who leaves most of a model out, or what comes
    first, means it.  Weights that move all the same have another optimizer.

    Cures
    -----
    Make the optimizer after the model is complete, or `optimizer.add_param_group`; else `requires_grad_(False)`.

    References
    ----------
    PyTorch documentation, torch.optim ("construct it after moving and changing the model").
    """

    kind = "disconnected"
    needs = (PATH, STEPS, WIRING)

    least: int = 5
    """Origin: the steps that are always measured; a second optimizer that steps less often has mostly come by then."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        assert recording.wiring is not None
        states = recording.parameters
        held = {n for n, s in states.items() if s.status == "trained" and s.optimizer is not None}
        replaced = [n for n in recording.wiring.replaced if n in states and n not in held and _stands(recording, n)]
        left_out = [n for n, s in states.items() if s.status == "trained" and n not in held and _stands(recording, n)]
        if not replaced and not (recording.steps_seen >= self.least and _forgotten(recording, left_out, held)):
            return
        names = replaced or left_out
        module = names[0].rpartition(".")[0]
        entry = next((e for e in recording.snapshots[0].ledger if e.site.module == module), None)
        yield Finding(
            kind="disconnected",
            severity="warning",
            cause="graph",
            where=entry.site.label if entry and module else names[0],
            step=recording.snapshots[0].step,
            evidence=(
                Evidence("unheld", float(len(names)), None, 0.0, "optimizers_own"),
                Evidence("replaced", float(len(replaced)), None, 0.0, "optimizers_own"),
            ),
            cures=CURES["graph"],
            values={
                "count": len(names),
                "of": sum(s.status == "trained" for s in states.values()),
                "names": ", ".join(names[:3]) + (", …" if len(names) > 3 else ""),
            },
            rule=self.name,
        )

    @staticmethod
    def sick() -> Example:
        example = classify(mlp("relu", depth=3, he=True))
        assert isinstance(example.model, nn.Sequential)
        example.model[-1] = nn.Linear(32, 4)
        return example

    @staticmethod
    def healthy() -> Example:
        example = classify(mlp("relu", depth=3, he=True))
        assert isinstance(example.model, nn.Sequential)
        example.optimizer = torch.optim.SGD(example.model[-1].parameters(), 0.05)
        return example


def _stands(recording: Recording, name: str) -> bool:
    """Whether the weight is the same in every measured step."""
    readings = [s.parameters[name].weight for s in recording.snapshots if name in s.parameters]
    return all((r.mean, r.rms) == (readings[0].mean, readings[0].rms) for r in readings)


def _forgotten(recording: Recording, left_out: list[str], held: set[str]) -> bool:
    """Whether they are the smaller part, and lie behind something that is trained."""
    places = {e.site.module: i for i, e in reversed(list(enumerate(recording.snapshots[0].ledger)))}

    def first(names: Iterable[str]) -> int | None:
        return min((places[m] for n in names if (m := n.rpartition(".")[0]) in places), default=None)

    mine, its = first(left_out), first(held)
    return mine is not None and its is not None and its < mine and len(left_out) < len(held)
