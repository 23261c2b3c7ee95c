"""The readings of a run: cheap ones of every step, whole ledgers of the measured steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from undertow.record.ledger import Ledger
from undertow.record.reading import AttentionReading, Reading, TimeReading
from undertow.record.spread import RankReading
from undertow.record.state import ParameterState
from undertow.record.thinning import FIRST, MOST_READINGS, MOST_SNAPSHOTS, Turns, thin_readings, thin_snapshots
from undertow.record.wiring import Wiring

LATELY = 20
"""Steps within which a fault that develops is to be reported."""


@dataclass(frozen=True)
class NotObserved:
    """Something that could not be seen, and why."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class StepReading:
    """What is noted of every step of every optimizer, by stage.

    `gradient_norm` is the gradient as the optimizer receives it: accumulated over `passes` backward passes, reduced
    over the ranks, divided by `loss_scale`, after any clipping.  `unclipped_norm` is the same before the training
    loop changed it (clipping), None where it was left alone or not measured.
    """

    step: int
    gradient_norm: float
    """Of all parameters of the optimizer together; NaN or inf where it is not finite."""
    learning_rate: float
    optimizer: int = 0
    """Its place in `Recording.optimizers`."""
    unclipped_norm: float | None = None
    loss_scale: float = 1.0
    """What the loss was multiplied with before the backward pass (torch.amp.GradScaler)."""
    passes: int = 1
    """Backward passes since the last step of this optimizer: accumulated micro-batches, or evaluations of a closure."""
    skipped: bool = False
    """Nothing was updated: the gradient was not finite, and a loss scaler or the training loop dropped it."""
    carried: bool = False
    """The gradients of the step before were still in these: nothing had set them to zero."""
    changed_late: bool = False
    """After the step before, where no optimizer uses them any more, its gradients were changed: a clip that comes too
    late."""
    local_norms: tuple[float, ...] = ()
    """Per rank, the norm of the gradient before it was reduced, or of its shard; empty on one process."""

    @property
    def clip_ratio(self) -> float:
        """What clipping left of the norm, 1 where nothing was clipped."""
        return self.gradient_norm / self.unclipped_norm if self.unclipped_norm else 1.0


MARKS = ("skipped", "carried", "changed_late")
"""What a step may have in its readings, and is counted over the whole run."""


@dataclass(frozen=True, slots=True)
class LossReading:
    """A loss as the user logged it."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class ParameterReading:
    """One parameter of a measured step, before the optimizer's update."""

    weight: Reading
    gradient: Reading | None
    """As the optimizer receives it; None where it received none."""
    update: Reading | None = None
    """Of w(after) - w(before), the optimizer's own scaling included; of a sample where the parameter is large."""

    @property
    def relative_update(self) -> float:
        """rms(Δw) / rms(w); NaN where it was not measured."""
        return self.update.rms / self.weight.rms if self.update and self.weight.rms else math.nan


@dataclass(frozen=True)
class Stage:
    """What the backward values of a snapshot are: of one backward pass, on one rank, as autograd computed them."""

    loss_scale: float = 1.0
    """They carry this factor; a ledger's factors don't."""
    passes: int = 1
    """Backward passes of the step; the ledger is that of the first."""
    rank: int = 0
    ranks: int = 1
    """Above 1 the backward values are local to `rank`, the parameters' gradients are reduced."""
    eager: bool = False
    """A compiled model ran this step eagerly, so that its inside could be seen."""


@dataclass(frozen=True)
class Origin:
    """The first value of a run that was not finite."""

    step: int
    site: str
    """As the ledger labels it, or the name of a parameter; `input` for the model's own, `loss` for what follows it."""
    operation: str
    direction: Literal["forward", "backward"]
    value: Literal["nan", "inf"]
    source: str | None
    """`file.py:12` of the user's line."""
    inputs: tuple[Reading, ...]
    """The operands of the operation; in the backward pass, before them, the gradient that came in."""
    exact: bool = True
    """Seen in the step where it arose; else found afterwards, by the steps that were measured."""
    output: Reading | None = None
    """What the operation made of them."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Smallest and largest value of each input, infinities included; none where the step was not run again."""


@dataclass(frozen=True)
class Snapshot:
    """One measured step: its ledger, its parameters, and which units had a slope."""

    step: int
    ledger: Ledger
    samples: int
    inputs: Reading | None = None
    """The model's first floating point input."""
    parameters: Mapping[str, ParameterReading] = field(default_factory=dict)
    alive: Mapping[str, Tensor] = field(default_factory=dict)
    """Per activation site, which units had f′ ≠ 0 for at least one sample of this step."""
    stage: Stage = Stage()
    ranks: RankReading | None = None
    """What all ranks measured of this step; None on one process, or where they could not be asked."""
    attention: Mapping[str, AttentionReading] = field(default_factory=dict)
    """Per site of an attention, fused or written out, where this step was read; of all its rows with `unroll=True`."""
    times: Mapping[str, TimeReading] = field(default_factory=dict)
    """Per fused recurrent layer and direction (`lstm`, `lstm.l1`, `lstm.l1.reverse`), where this step was replayed."""


class Sink(Protocol):
    """Receives what a recording is given, as it comes: a run file.  A call returns at once and never raises."""

    def add(self, recording: Recording, event: Event) -> None: ...


@dataclass
class Recording:
    """A run as it was observed.  Whatever is added goes to the sinks too.

    Bounded: a long run keeps the readings that `record.thinning` chooses.  Each list only grows at its end; once it is
    thinned another one takes its place, so that a thread may read while the training adds.
    """

    steps: list[StepReading] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    losses: list[LossReading] = field(default_factory=list)
    not_observed: dict[str, NotObserved] = field(default_factory=dict)
    overhead: float | None = None
    """Measured cost of observing, as a share of the time that the run would have taken without."""
    optimizers: list[str] = field(default_factory=list)
    """Class names of the optimizers, in the order in which they were first seen."""
    origin: Origin | None = None
    """Where the first value that is not finite arose."""
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per parameter that has several names, the others."""
    parameters: dict[str, ParameterState] = field(default_factory=dict)
    """What became of each parameter so far, by its name."""
    name: str = "model"
    """Of the observed model, where a run has several."""
    wiring: Wiring | None = None
    """What the first measured steps show of how it hangs together; None where no traced pass came to a step."""
    thinned_steps: int = 0
    """Steps whose readings in `steps` were all let go."""
    thinned_marks: Mapping[str, int] = field(default_factory=dict)
    """Of these, how many had each of the `MARKS`."""
    thinned_snapshots: int = 0
    unread_steps: int = 0
    """Steps without a reading: to read the gradients of each would have cost more than was allowed."""
    sinks: list[Sink] = field(default_factory=list, repr=False, compare=False)
    overhead_later: float | None = None
    """The same of what came after the first five steps, which are measured whole whatever the budget."""
    _turns: Turns = field(default_factory=Turns, init=False, repr=False, compare=False)

    def add(self, event: Event) -> None:
        """Keeps a reading and hands it to the sinks."""
        match event:
            case StepReading():
                self.steps.append(event)
                self._turns.see(event.step, event.gradient_norm, event.skipped, event.optimizer)
                if len(self.steps) >= MOST_READINGS:
                    self._thin_steps()
            case Snapshot():
                self.snapshots.append(event)
                if len(self.snapshots) > MOST_SNAPSHOTS:
                    self._thin_snapshots()
            case LossReading():
                self.losses.append(event)
                if len(self.losses) >= MOST_READINGS:
                    self.losses = thin_readings(self.losses, lambda reading: reading.value)
            case Origin():
                self.origin = self.origin or event
                self._turns.note(event.step)
            case Wiring():
                self.wiring = event
            case ParameterState():
                self.parameters[event.name] = event
            case NotObserved():
                if event.what in self.not_observed:
                    return
                self.not_observed[event.what] = event
        for sink in self.sinks:
            sink.add(self, event)

    def _thin_steps(self) -> None:
        kept = thin_readings(self.steps, lambda s: s.gradient_norm, lambda s: s.optimizer, lambda s: s.skipped)
        self.thinned_steps += _steps(self.steps) - _steps(kept)
        gone = {mark: _steps(self.steps, mark) - _steps(kept, mark) for mark in MARKS}
        self.thinned_marks = {mark: self.thinned_marks.get(mark, 0) + count for mark, count in gone.items()}
        self.steps = kept

    def _thin_snapshots(self) -> None:
        kept = thin_snapshots(self.snapshots, self._turns.steps, lambda s: bool(s.times or s.attention))
        self.thinned_snapshots += len(self.snapshots) - len(kept)
        self.snapshots = kept

    @property
    def steps_seen(self) -> int:
        """Steps; those of several optimizers without a pass between them are one."""
        return self.steps_read + self.unread_steps

    @property
    def steps_read(self) -> int:
        """Steps whose gradients were read."""
        return _steps(self.steps) + self.thinned_steps

    def marked(self, mark: str) -> int:
        """How many of the steps that were read had this one of the `MARKS`."""
        return _steps(self.steps, mark) + self.thinned_marks.get(mark, 0)

    @property
    def steps_measured(self) -> int:
        """Steps that were measured whole."""
        return len(self.snapshots) + self.thinned_snapshots

    @property
    def skipped(self) -> frozenset[int]:
        """The steps that updated nothing, on purpose: a loss scaler looks for its scale with them."""
        return frozenset(s.step for s in self.steps if s.skipped)

    @property
    def optimizer(self) -> str | None:
        return self.optimizers[0] if self.optimizers else None

    @property
    def last_step(self) -> int:
        return max((self.steps[-1].step if self.steps else 0), (self.snapshots[-1].step if self.snapshots else 0))

    @property
    def recent(self) -> list[Snapshot]:
        """The snapshots of the last half of the run, at least the last one."""
        half = self.last_step / 2
        return [s for s in self.snapshots if s.step >= half] or self.snapshots[-1:]

    @property
    def lately(self) -> list[Snapshot]:
        """The snapshots of the last twenty steps, at least the last five: what a fault that has just begun shows in."""
        since = bisect_right(self.snapshots, self.last_step - LATELY, key=lambda s: s.step)
        return self.snapshots[min(since, max(len(self.snapshots) - FIRST, 0)) :]


def _steps(readings: Iterable[StepReading], mark: str = "") -> int:
    """The number of steps, of those with a mark where one is asked for."""
    return len({r.step for r in readings if not mark or getattr(r, mark)})


Event = StepReading | Snapshot | LossReading | Origin | NotObserved | ParameterState | Wiring
