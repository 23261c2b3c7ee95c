"""What is kept of a step that is measured whole, until it becomes a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial

from torch import Tensor

from undertow.probe.following.returning import Returning
from undertow.probe.following.table import united
from undertow.probe.stepping.gradients import Gradients, Panelled, divided
from undertow.probe.stepping.updates import Samples, Updates
from undertow.probe.tracing.account import Account
from undertow.record import AttentionReading, NotObserved, ParameterReading, Reading, Snapshot, Stage, TimeReading


class Received(Mapping[int, Gradients]):
    """By the id of a parameter, the gradients that an optimizer has received; of several, those of the last."""

    __slots__ = ("_found", "_given")

    def __init__(self) -> None:
        self._given: list[tuple[Gradients, list[int]]] = []
        self._found: dict[int, Gradients] | None = None

    def add(self, gradients: Gradients, parameters: list[int]) -> None:
        self._given.append((gradients, parameters))
        self._found = None

    def _by_parameter(self) -> dict[int, Gradients]:
        if self._found is None:  # not at each step: few of a run's steps are asked for them
            self._found = {i: gradients for gradients, parameters in self._given for i in parameters}
        return self._found

    def __getitem__(self, parameter: int) -> Gradients:
        return self._by_parameter()[parameter]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_parameter())

    def __len__(self) -> int:
        return len(self._by_parameter())

    def settle(self, ids: list[int]) -> None:
        """No more come; what is alike in many steps is kept once, as these ids."""
        for gradients, _ in self._given:
            gradients.settle(ids)
        self._given = [(gradients, ids if own == ids else own) for gradients, own in self._given]

    def reading(self, parameter: int) -> Reading | None:
        """Without the factor of a loss scaler."""
        found = self.get(parameter)
        if found is None or parameter not in found.readings:
            return None
        return divided(found.readings[parameter], found.divisor)


class Parameters(Mapping[str, ParameterReading]):
    """The parameters of a measured step; their numbers are decoded when they are asked for."""

    def __init__(self, names: tuple[str, ...], read: Callable[[], dict[str, ParameterReading]]) -> None:
        self._names, self._read = names, read

    @cached_property
    def _readings(self) -> dict[str, ParameterReading]:
        readings = self._read()
        self._read = lambda: readings  # what was kept to read from can go; another thread may be in here too
        return readings

    def __getitem__(self, name: str) -> ParameterReading:
        return self._readings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, ParameterReading]]]:
        return dict, (self._readings,)


class DeepStep:
    """The passes of one step: the account of the first, the units of all; and its parameters before and after."""

    def __init__(self) -> None:
        self.account: Account | Returning | None = None
        self.samples = 0
        self.alive: Mapping[str, Tensor] = {}
        self.notes: dict[str, NotObserved] = {}
        self.times: dict[str, TimeReading] = {}
        self.attention: dict[str, AttentionReading] = {}
        self.gradients = Received()
        self._updates: Updates | None = None

    # ------------------------------------------------------------ the passes

    def add(self, accounts: Iterable[Account | Returning]) -> None:
        """Accounts through which a backward pass has gone; of several, the loss's own is told of."""
        for account in accounts:
            account.close()
            self.notes |= account.trace.not_observed
            self.samples += account.trace.samples
            self.alive = united(self.alive, account.trace.alive)
            better = self.account is None or (self.account.differentiated and not account.differentiated)
            if better and not account.light:
                self.account = account

    def forget_passes(self) -> None:
        """Their gradients were dropped, and no optimizer uses them."""
        self.account, self.samples = None, 0
        self.alive = {}

    @property
    def inputs(self) -> Reading | None:
        return None if self.account is None else self.account.trace.inputs

    def snapshot(self, step: int, stage: Stage) -> Snapshot | None:
        """What was measured; None where no pass has a ledger."""
        ledger = None if self.account is None else self.account.ledger(step)
        if ledger is None:
            return None
        return Snapshot(
            step,
            ledger,
            self.samples,
            self.inputs,
            self.parameters(),
            self.alive,
            stage,
            attention=self.attention,
            times=self.times,
        )

    # ------------------------------------------------------------ the parameters

    def before_step(self, samples: Samples) -> None:
        """The weights, before the first optimizer of the step changes them."""
        if self._updates is None:
            self._updates = Updates(samples)

    def received(self, gradients: Gradients, parameters: Iterable[Tensor]) -> None:
        """The gradients as an optimizer receives them, up to a scale."""
        self.gradients.add(gradients, list(map(id, parameters)))

    def after_step(self, parameters: Iterable[Tensor]) -> None:
        """The changes of one optimizer's parameters."""
        if self._updates is not None:
            self._updates.stepped(parameters)

    def parameters(self) -> Mapping[str, ParameterReading]:
        """Per name the readings of weight, gradient and update."""
        updates = self._updates
        if updates is None:
            return {}
        self.gradients.settle(updates.ids)
        sources = updates.names, updates.weights, updates.readings(), self.gradients
        return Parameters(updates.names, partial(_readings, *sources))


def _readings(
    names: tuple[str, ...], weights: Panelled, changes: Panelled, gradients: Received
) -> dict[str, ParameterReading]:
    return {
        name: ParameterReading(weights[i], gradients.reading(i), changes.measured(i))
        for name, i in zip(names, weights, strict=True)
    }
