"""What becomes of each parameter: trained, frozen, never reached; and which of them are one and the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.probe.stepping.clock import parameters
from undertow.probe.stepping.gradients import Gradients
from undertow.record import NotObserved, ParameterState, Recording
from undertow.record.names import module_names
from undertow.record.state import Status


def tied(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Per parameter with several names, the others by the first."""
    modules = module_names(model)
    names: dict[int, list[str]] = defaultdict(list)
    for raw, parameter in model.named_parameters(remove_duplicate=False):
        outer, _, last = raw.rpartition(".")
        names[id(parameter)].append(f"{modules[outer]}.{last}" if modules.get(outer) else last)
    return {first: tuple(others) for first, *others in names.values() if others}


def unseen(model: nn.Module) -> Iterator[NotObserved]:
    """What of the model can't be looked into."""
    for name, module in model.named_modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            reason = "its replicas run in threads of their own, which are not observed; parameters are"
            yield NotObserved(name or "DataParallel", reason)


class States:
    """Keeps `recording.parameters`: looks only at those of which more may still become known."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._settled: set[tuple[int, bool]] = set()

    def look(
        self,
        named: Sequence[tuple[str, Tensor]],
        gradients: Mapping[int, Gradients],
        optimizers: Sequence[Optimizer | None],
    ) -> None:
        """After a step: all parameters, the gradients that some of them received, and the optimizers so far."""
        left = [(name, p) for name, p in named if (id(p), p.requires_grad) not in self._settled]
        if not left:
            return
        holders = {id(p): n for n, o in enumerate(optimizers) if o is not None for p in parameters(o)}
        for name, parameter in left:
            known = self._recording.parameters.get(name)
            received = gradients.get(id(parameter))
            status, holder = _status(parameter, received, known), holders.get(id(parameter))
            rows = received.rows.get(id(parameter)) if received else known.rows if known else None
            found = status, parameter.shape, holder, rows
            if known is None or found != (known.status, known.shape, known.optimizer, known.rows):
                self._recording.add(ParameterState(name, status, tuple(parameter.shape), holder, rows))
            if status == "frozen" or (status == "trained" and holder is not None):
                self._settled.add((id(parameter), parameter.requires_grad))


def _status(parameter: Tensor, received: Gradients | None, known: ParameterState | None) -> Status:
    if not parameter.requires_grad:
        return "frozen"
    before: Status = known.status if known and known.status != "frozen" else "unused"
    moving = None if before == "trained" or received is None else received.moving.get(id(parameter))
    return before if moving is None else "trained" if moving else "zero"
