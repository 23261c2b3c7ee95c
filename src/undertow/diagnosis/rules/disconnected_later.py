"""Trained parameters that the loss sends no gradient any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.diagnosis.examples import classify
from undertow.diagnosis.needs import PARAMETERS, WIRING
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import ParameterReading, Recording, Unreached

CURES: dict[Cause, tuple[str, ...]] = {"graph": ("reconnect", "smooth_step", "straight_through")}


@rule
@dataclass(frozen=True)
class DisconnectedLater(Rule):
    """A weight that was trained gets no gradient from some step on: the graph has come to be cut behind it.

    What
    ----
    A parameter has had a gradient in every measured step, and since some step it has had none in any.  The forward
    pass uses it still; what it makes of it leaves the graph (detach, a comparison, argmax, numbers in Python or NumPy)
    and goes on into the layers behind.

    Why it hurts
    ------------
    The layer stays as it was at that step, although its optimizer waits for it.  The layers behind it go on learning,
    so that the loss may show nothing.

    Evidence
    --------
    How many measured steps in a row had a gradient, and how many since have none (none, not zeros); the call at which
    its values leave the graph in a pass that was traced once more, with the line of code.

    Counter-evidence
    ----------------
    Frozen (`requires_grad=False`), or run where gradients are off, as who trains the head alone does.  A gradient that
    came and went before: networks that take turns, experts, layers that are dropped.  Turns that change: another
    parameter has come to have a gradient at the same step.  An optimizer that makes no steps any more.  A parameter
    that moves in another way.

    Cures
    -----
    Take the call out, or give it a derivative; where it is on purpose, `requires_grad_(False)` says so.

    References
    ----------
    PyTorch documentation, Autograd mechanics.
    """

    kind = "disconnected"
    needs = (WIRING, PARAMETERS)

    steps: int = 5
    """Origin: five with a gradient and then five without: chance would order ten such steps so once in 252 times."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        assert recording.wiring is not None
        found = [(u, since) for u in recording.wiring.lost if (since := self._since(recording, u)) is not None]
        if not found:
            return
        first, since = found[0]
        names, cut = [u.parameter for u, _ in found], first.cut
        course = _gradients(recording, first.parameter)
        without = sum(step >= since for step, _ in course)
        yield Finding(
            kind="disconnected",
            rule=self.name,
            severity="warning",
            cause="graph",
            where=first.where,
            step=since,
            evidence=(
                Evidence("unreached", float(len(names)), None, 0.0, "graph_of_model"),
                Evidence("steps_without", float(without), None, self.steps - 1.0, "order_of_steps"),
            ),
            cures=CURES["graph"],
            values={
                "count": len(names),
                "of": sum(s.status != "frozen" for s in recording.parameters.values()),
                "names": ", ".join(names[:3]) + (", …" if len(names) > 3 else ""),
                "operation": cut.operation if cut else "",
                "source": f" ({cut.source})" if cut and cut.source else "",
                "before": len(course) - without,
                "without": without,
            },
            sites=(first.where,),
        )

    def _since(self, recording: Recording, lost: Unreached) -> int | None:
        """The first measured step without its gradient; None where that is no fault."""
        state = recording.parameters.get(lost.parameter)
        if lost.cut is None or lost.cut.operation == "no_grad" or state is None or state.status != "trained":
            return None
        course = _gradients(recording, lost.parameter)
        since = next((step for step, reading in course if reading.gradient is None), None)
        if since is None:
            return None
        before = [reading for step, reading in course if step < since]
        after = [reading for step, reading in course if step >= since]
        if min(len(before), len(after)) < self.steps or any(r.gradient is not None for r in after):
            return None
        moves = any((r.weight.mean, r.weight.rms) != (after[0].weight.mean, after[0].weight.rms) for r in after)
        steps = any(s.optimizer == state.optimizer for s in recording.steps if s.step >= since)
        return None if moves or not steps or _takes_turns(recording, since) else since

    @staticmethod
    def sick() -> Example:
        return classify(_Changing("detach"), steps=24)

    @staticmethod
    def healthy() -> Example:
        return classify(_Changing("freeze"), steps=24)


def _gradients(recording: Recording, name: str) -> list[tuple[int, ParameterReading]]:
    """By step, its readings."""
    return [(s.step, s.parameters[name]) for s in recording.snapshots if name in s.parameters]


def _takes_turns(recording: Recording, since: int) -> bool:
    """Whether a parameter that had no gradient in the measured step before has one in this step."""
    before, now = {}, {}
    for snapshot in recording.snapshots:
        if snapshot.parameters and snapshot.step < since:
            before = snapshot.parameters
        elif snapshot.step == since:
            now = snapshot.parameters
    return any(r.gradient is not None and n in before and before[n].gradient is None for n, r in now.items())


class _Changing(nn.Module):
    """Two layers; from the tenth pass on the first one is cut off, or frozen."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.how, self.passes = nn.Linear(16, 32), nn.Linear(32, 4), how, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        late = self.passes >= 10
        if self.how == "freeze":
            self.first.requires_grad_(not late)
        h = torch.relu(self.first(x))
        return self.second(h.detach() if late and self.how == "detach" else h)
