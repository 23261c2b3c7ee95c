"""Trained parameters that the loss sends no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.diagnosis.examples import classify
from undertow.diagnosis.needs import WIRING
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Reading, Recording, Unreached

CURES: dict[Cause, tuple[str, ...]] = {"graph": ("reconnect", "smooth_step", "straight_through"), "none": ()}


@rule
@dataclass(frozen=True)
class Disconnected(Rule):
    """A weight that is to be trained gets no gradient: the graph is cut between it and the loss.

    What
    ----
    The forward pass uses a trained parameter, what it makes of it leaves the graph (detach, a comparison, argmax,
    numbers in Python or NumPy, `torch.no_grad()`) and goes on into the layers behind; the parameter never gets a
    gradient.

    Why it hurts
    ------------
    It stays as it was initialised.  The layers behind it may learn the task on its random features all the same, so
    that no metric shows it.

    Evidence
    --------
    No gradient (none, not zeros) in any measured step, and the call at which its values left the graph before they
    came back into it, with the line of code.

    Counter-evidence
    ----------------
    Frozen (`requires_grad=False`); left out of the optimizer; moved in another way (an average, a codebook); a copy of
    weights that are trained (a target network); switched to evaluation where gradients are off.  A parameter that gets
    gradients in other steps, or by another way, is none.  One that nothing uses is a note.

    Cures
    -----
    Take the call out, or give it a derivative (a straight-through estimator, a softmax for an argmax).

    References
    ----------
    PyTorch documentation, Autograd mechanics; Bengio, Léonard & Courville (2013), arXiv:1308.3432.
    """

    kind = "disconnected"
    needs = (WIRING,)

    def check(self, recording: Recording) -> Iterator[Finding]:
        wiring = recording.wiring
        assert wiring is not None
        without = [u for u in wiring.unreached if _never_reached(recording, u.parameter)]
        cut = [u for u in without if u.cut is not None and not _on_purpose(recording, u)]
        if cut:
            yield self._finding(recording, "graph", cut[0].where, [u.parameter for u in cut], cut[0])
            return
        known = {u.parameter for u in without}
        unused = [n for n in recording.parameters if n not in known and _never_reached(recording, n)]
        names = [u.parameter for u in without if u.cut is None] + unused
        if names and recording.steps:
            yield self._finding(recording, "none", names[0], names)

    @staticmethod
    def _finding(
        recording: Recording, cause: Cause, where: str, names: list[str], first: Unreached | None = None
    ) -> Finding:
        trained = sum(s.status != "frozen" for s in recording.parameters.values()) or len(names)
        cut = first.cut if first else None
        values = {
            "count": len(names),
            "of": trained,
            "names": ", ".join(names[:3]) + (", …" if len(names) > 3 else ""),
            "operation": cut.operation if cut else "",
            "source": f" ({cut.source})" if cut and cut.source else "",
        }
        return Finding(
            kind="disconnected",
            severity="warning" if cut else "note",
            cause=cause,
            where=where,
            step=recording.snapshots[0].step,
            evidence=(Evidence("unreached", float(len(names)), None, 0.0, "graph_of_model"),),
            cures=CURES[cause],
            values=values,
            sites=(where,),
        )

    @staticmethod
    def sick() -> Example:
        return classify(_Halves(cut=True))

    @staticmethod
    def healthy() -> Example:
        return classify(_Halves(cut=False))


class _Halves(nn.Module):
    """Two layers; between them a hard threshold, or its value with the derivative of what it was given."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.cut = nn.Linear(16, 32), nn.Linear(32, 4), cut

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        step = (h > 0).float()
        return self.second(step if self.cut else step + h - h.detach())


def _never_reached(recording: Recording, name: str) -> bool:
    """Whether no step has given it a gradient, although an optimizer waits for it, as far as optimizers are known."""
    state = recording.parameters.get(name)
    if state is None:  # one batch that was examined: there is no optimizer
        return not recording.optimizers
    held = state.optimizer is not None or all(s.optimizer is None for s in recording.parameters.values())
    return state.status == "unused" and held


def _on_purpose(recording: Recording, unreached: Unreached) -> bool:
    cut = unreached.cut
    if cut is not None and cut.operation == "no_grad" and not cut.training:
        return True
    return _moves(recording, unreached.parameter) or _is_copy(recording, unreached.parameter)


def _weights(recording: Recording, name: str) -> list[Reading]:
    return [s.parameters[name].weight for s in recording.snapshots if name in s.parameters]


def _moves(recording: Recording, name: str) -> bool:
    """Whether something other than its gradient changes it."""
    readings = _weights(recording, name)
    return any(_size(r) != _size(readings[0]) for r in readings[1:])


def _is_copy(recording: Recording, name: str) -> bool:
    """Whether it began as a copy of a parameter that is trained, of another module."""
    readings, state = _weights(recording, name)[:1], recording.parameters.get(name)
    if not readings or state is None or readings[0].std == 0:
        return False
    like = [n for n, s in recording.parameters.items() if s.status == "trained" and s.shape == state.shape]
    return any(_size(first) == _size(readings[0]) for n in like for first in _weights(recording, n)[:1])


def _size(reading: Reading) -> tuple[float, float, float]:
    return reading.mean, reading.rms, reading.max
