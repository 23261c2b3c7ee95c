"""What is kept of a step that is measured whole, until it becomes a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property

from torch import Tensor

from undertow.probe.following.returning import Returning
from undertow.probe.stepping.gradients import Gradients, Panelled, divided
from undertow.probe.stepping.updates import Updates
from undertow.probe.tracing.account import Account
from undertow.record import NotObserved, ParameterReading, Reading, Snapshot, Stage


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
        self.alive: dict[str, Tensor] = {}
        self.notes: dict[str, NotObserved] = {}
        self._names: dict[int, str] = {}
        self._weights: Mapping[int, Reading] | None = None
        self.gradients: dict[int, Gradients] = {}
        self._updates: Updates | None = None

    # ------------------------------------------------------------ the passes

    def add(self, accounts: Iterable[Account | Returning]) -> None:
        """Accounts through which a backward pass has gone; of several, the loss's own is told of."""
        for account in accounts:
            account.close()
            self.notes |= account.trace.not_observed
            self.samples += account.trace.samples
            for operation in account.trace.operations:
                if operation.alive is not None:
                    before = self.alive.get(operation.site.name, operation.alive)
                    same = before.shape == operation.alive.shape
                    self.alive[operation.site.name] = before | operation.alive if same else operation.alive
            better = self.account is None or (self.account.differentiated and not account.differentiated)
            if better and not account.light:
                self.account = account

    def forget_passes(self) -> None:
        """Their gradients were dropped, and no optimizer uses them."""
        self.account, self.samples = None, 0
        self.alive.clear()

    @property
    def inputs(self) -> Reading | None:
        return None if self.account is None else self.account.trace.inputs

    def snapshot(self, step: int, stage: Stage) -> Snapshot | None:
        """What was measured; None where no pass has a ledger."""
        ledger = None if self.account is None else self.account.ledger(step)
        if ledger is None:
            return None
        return Snapshot(step, ledger, self.samples, self.inputs, self.parameters(), self.alive, stage)

    # ------------------------------------------------------------ the parameters

    def before_step(self, named: Collection[tuple[str, Tensor]]) -> None:
        """The weights, before the first optimizer of the step changes them."""
        if self._updates is not None:
            return
        self._names = {id(p): name for name, p in named}
        parameters = [p for _, p in named]
        self._weights, self._updates = Panelled.of(parameters), Updates(parameters)

    def received(self, gradients: Gradients, parameters: Iterable[Tensor]) -> None:
        """The gradients as an optimizer receives them, up to a scale."""
        self.gradients |= {id(p): gradients for p in parameters}

    def after_step(self, parameters: Iterable[Tensor]) -> None:
        """The changes of one optimizer's parameters."""
        if self._updates is not None:
            self._updates.stepped(parameters)

    def parameters(self) -> Mapping[str, ParameterReading]:
        """Per name the readings of weight, gradient and update."""
        names, weights, updates = self._names, self._weights, self._updates
        if weights is None or updates is None:
            return {}
        changes, gradients = updates.readings(), self.gradients

        def gradient(parameter: int) -> Reading | None:
            found = gradients.get(parameter)
            if found is None or parameter not in found.readings:
                return None
            return divided(found.readings[parameter], found.divisor)

        def read() -> dict[str, ParameterReading]:
            return {name: ParameterReading(weights[i], gradient(i), changes.get(i)) for i, name in names.items()}

        return Parameters(tuple(names.values()), read)
