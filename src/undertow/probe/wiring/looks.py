"""The first measured steps, looked at for what is connected with what; and later ones that reach less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from undertow.probe.stepping.budget import FIRST
from undertow.probe.stepping.clock import parameters
from undertow.probe.wiring.cuts import Cuts
from undertow.probe.wiring.terms import terms
from undertow.probe.wiring.twins import Alikes
from undertow.record import Term, Unreached, Wiring
from undertow.record.names import named_parameters

AGAIN = 8
"""So many later looks at what has lost its gradient: two passes are traced before one is listened to.  Ours."""


class Looks:
    """One a measured step, of the first ones: after the backward pass, before the optimizer changes anything.

    Later steps are looked at again while a parameter that the first ones reached has no gradient.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._alikes = model, Alikes(model)
        self._unreached: dict[str, Unreached] = {}
        self._terms: tuple[Term, ...] = ()
        self._next = 0
        self._last = Wiring(-1)
        self._reached: dict[str, Tensor] = {}
        self._again = AGAIN

    def wanted(self, step: int) -> bool:
        if step < self._next or not self._again:
            return False
        if step >= FIRST and next(self._lost(), None) is None:
            self._next = step + 1  # an optimizer that has stepped may let its gradients go before the next one steps
            return False
        return True

    def _lost(self) -> Iterator[Tensor]:
        """Trained parameters that the first steps reached, and this one does not."""
        return (p for p in self._reached.values() if p.grad is None and p.requires_grad)

    def heard(self, loss: Tensor | None) -> None:
        """The loss of a backward pass that has just run, None where it can't be seen; the first one is told of."""
        if loss is not None and not self._terms:
            self._terms = terms(loss)

    def look(self, step: int, passes: Sequence[Cuts], optimizers: Iterable[Optimizer | None] = ()) -> Wiring:
        """What this step shows, with what is left of the steps before it."""
        if step >= FIRST:
            return self._look_again(passes)
        self._next = step + 1
        named = [(name, p) for name, p in named_parameters(self._model) if p.requires_grad and not is_lazy(p)]
        without = [p for _, p in named if p.grad is None]
        cut_off = [u for seen in passes for u in seen.unreached(without)]
        still = {name for name, p in named if p.grad is None}
        merged = self._unreached | {u.parameter: u for u in cut_off if u.cut or u.parameter not in self._unreached}
        self._unreached = {name: u for name, u in merged.items() if name in still}
        multiplied = {i for seen in passes for i in seen.multiplied}
        twins = self._alikes.look(multiplied) if len(without) < len(named) else ()
        found = Wiring(step, tuple(self._unreached.values()), self._terms, twins, _replaced(named, optimizers))
        if not (found.unreached or found.twins or found.replaced) and len(without) < len(named):
            self._next = FIRST  # the steps that follow are as this one: all is connected
        self._reached |= {n: p for n, p in named if p.grad is not None}
        self._last = found
        return found

    def _look_again(self, passes: Sequence[Cuts]) -> Wiring:
        """What the first steps have shown, with what has lost its gradient since; once that is known it stays so."""
        lost = list(self._lost())
        found = [u for seen in passes for u in seen.unreached(lost) if u.cut is not None]
        self._again = 0 if found else self._again - 1
        return replace(self._last, lost=tuple({u.parameter: u for u in found}.values()))


def _replaced(named: Sequence[tuple[str, Tensor]], optimizers: Iterable[Optimizer | None]) -> tuple[str, ...]:
    """Parameters with a gradient that no optimizer holds, while one holds a tensor like it that nothing reaches."""
    held = {id(p): p for o in optimizers if o is not None for p in parameters(o)}
    ours = {id(p) for _, p in named}
    stale = [p.shape for i, p in held.items() if i not in ours and p.grad is None]
    return tuple(n for n, p in named if stale and id(p) not in held and p.grad is not None and p.shape in stale)
