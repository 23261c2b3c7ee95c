"""One model on many ranks: measured at the same steps everywhere, and read over all of them.

The first step announces a rank, the second connects those of a model.  From then on each measured step is one small
message in two parts (sums, maxima), started at the step's end and read when the next one is about to be taken.  Where
the parameters are sharded every other step is a message too, of a few numbers: the norm of a shard alone says little.

Which step is measured next must be the same everywhere, or the ranks' messages would not meet.  The first steps are
measured on all; from then on each message carries the step that its rank could afford next, and all take the latest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from undertow.probe.sharing.exchange import Exchange, RanksApart
from undertow.probe.sharing.sharding import Layout, layout, local, reduced_later
from undertow.probe.sharing.tally import SnapshotMessage, agreed, step_message, with_ranks
from undertow.probe.sharing.unreduced import Unreduced
from undertow.probe.stepping.budget import FIRST
from undertow.probe.stepping.gradients import Gradients
from undertow.record import NotObserved, Recording, Snapshot, StepReading
from undertow.record.names import named_parameters

ALARMED = 2
"""After the first gradient that is not finite, this many steps are measured whole."""
SOONEST = 2
"""A message is read one step after its own, so the first step that it can decide about is the one after that."""

KEPT = 2
"""Steps back whose readings may still come."""

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(eq=False)
class Sent:
    """A message underway, and what becomes of the reading when it arrives."""

    step: int
    event: StepReading | Snapshot | None
    works: list[Any]
    total: Tensor
    top: Tensor | None = None
    message: SnapshotMessage | None = None


class Ranks:
    """Stands before a recording: readings go through it, and arrive one step later with the other ranks' share.

    On one process, or where the other ranks can't be asked, they arrive at once, as they are.

    Parameters
    ----------
    model, recording:
        Of this rank.
    always:
        Whether every step is measured whole; ranks that differ in this stay apart.
    guard:
        Keeps an error of ours out of the user's backward pass.
    """

    def __init__(
        self, model: nn.Module, recording: Recording, always: bool = False, guard: Guard = lambda call: call
    ) -> None:
        self._model, self._recording, self._always, self._guard = model, recording, always, guard
        self._alone = not dist.is_available()
        self._layout = None if self._alone else layout(model)
        self._wrapper: nn.Module | None = None
        self._exchange: Exchange | None = None
        self._connected = False
        self._unreduced = self._unreduced_gradients()
        self._unsent: list[tuple[StepReading, float, float]] = []
        self._snapshots: dict[int, Snapshot] = {}
        self._due: list[int] = []
        self._sent: list[Sent] = []
        self._sites: tuple[str, ...] = ()
        self._shares: dict[int, float] = {}
        self._deep: dict[int, bool] = {}
        self._step = self._announced = 0
        self._following = FIRST
        self._last, self._next, self._alarmed_until, self._sound = -1, FIRST, -1, True

    # ------------------------------------------------------------ called by the observer

    def forward_begins(self) -> None:
        """A forward pass of the model: the one moment at which a DDP around it, unknown to us, can be seen."""
        if not self._alone and self._wrapper is None and self._layout is None:
            self._wrapper = DistributedDataParallel._get_active_ddp_module()

    def wants(self, step: int) -> bool | None:
        """Whether all ranks measure this step whole; None where each decides for itself."""
        if not self._connected:
            return None
        due = step >= self._next > self._last  # else the answer to the last message is not read yet
        return self._always or step < FIRST or due or step <= self._alarmed_until

    @property
    def several(self) -> bool:
        """Whether there may be other ranks that wait for this one."""
        return not self._alone

    @property
    def need_norms(self) -> bool:
        """Whether every step is read: the others wait for it, or would not learn of a NaN on this rank."""
        return self._exchange is not None

    @property
    def _sharded(self) -> bool:
        return self._exchange is not None and bool(self._exchange.layout.sharded)

    def begin(self, step: int, deep: bool) -> None:
        """What was decided about a step that begins; said once or more, before its backward pass."""
        self._deep = {s: known for s, known in self._deep.items() if s >= step - KEPT} | {step: deep}
        self._last = step if deep else self._last
        if deep and self._sharded:
            self._look()
        if self._unreduced is not None:
            self._unreduced.arm(step) if deep else self._unreduced.disarm()

    def before_step(self) -> None:
        """An optimizer is about to step: reads what has arrived; in the first two steps, finds the other ranks."""
        if self._alone:
            return
        try:
            if self._exchange is None:
                self._announce()
            elif not self._connected and self._step > self._announced:
                self._exchange.join()
                self._connected = True  # what the first step has left is sent with this one's
            else:
                self._receive(self._exchange)
        except RanksApart as apart:
            self._part(str(apart))

    def add(self, reading: StepReading, gradients: Gradients | None = None, held: Collection[Tensor] = ()) -> None:
        """A step of an optimizer that holds these parameters, and their gradients."""
        if self._exchange is None or reading.skipped:  # one rank alone may have seen the overflow
            self._recording.add(reading)
        elif self._deep.get(reading.step) or self._exchange.layout.sharded:
            self._unsent.append(self._prepared(reading, self._exchange.layout, gradients, held))
        else:
            self._recording.add(reading)
            self._note_alarm(reading, lag=0)

    def snapshot(self, snapshot: Snapshot) -> None:
        """What was measured of a step."""
        if self._exchange is None:
            self._recording.add(self._labelled(snapshot))
        else:
            self._snapshots[snapshot.step] = snapshot

    def after_step(self, step: int, following: Callable[[int], int], late: bool = False) -> None:
        """The step is over.

        Parameters
        ----------
        step:
            Its number.
        following:
            Of a step's number, that of the step which this rank could afford to measure next.
        late:
            Whether its readings are given in the next step only, as those of a GPU are.
        """
        self._step = step + 1
        if self._exchange is None:
            return
        if self._deep.get(step):
            self._due.append(step)
        if self._due:
            self._following = max(following(step), step + SOONEST + late)
        if self._connected:
            try:
                self._send(self._exchange, [s for s in self._due if s < step + (not late)])
            except RanksApart as apart:
                self._part(str(apart))

    def close(self) -> None:
        """Waits for what is underway, hands over everything and leaves the other ranks."""
        if self._exchange is not None and self._connected:
            try:
                self._send(self._exchange, self._due)
                self._receive(self._exchange)
            except RanksApart as apart:
                self._note(str(apart))
        self.leave()

    def leave(self) -> None:
        """Goes on alone: the other ranks notice at once, and nobody waits."""
        self._alone, self._connected = True, False
        if self._unreduced is not None:
            self._unreduced.disarm()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()
        left = [s.event for s in self._sent] + [r for r, _, _ in self._unsent] + list(self._snapshots.values())
        self._sent, self._unsent, self._snapshots, self._due = [], [], {}, []
        for event in left:
            if event is not None:
                self._recording.add(self._labelled(event))

    # ------------------------------------------------------------ finding each other

    def _announce(self) -> None:
        self._layout = layout(self._model, self._wrapper)
        if self._layout is None:
            self._alone = True
            return
        self._exchange = Exchange(self._layout, self._always)
        self._announced = self._step
        self._look()
        self._unreduced = self._unreduced or self._unreduced_gradients()

    def _look(self) -> None:
        """The parameters as they are now."""
        if self._layout is not None:
            found = [(name, p) for name, p in named_parameters(self._model) if name in self._layout.pieces]
            self._shares = {id(p): self._layout.share(name) for name, p in found}

    def _unreduced_gradients(self) -> Unreduced | None:
        hidden = reduced_later(self._model) if self._layout else []
        return Unreduced(hidden, self._guard) if hidden else None

    def _part(self, reason: str) -> None:
        self._note(reason)
        self.leave()

    def _note(self, reason: str) -> None:
        sharded = self._layout is not None and self._layout.sharded
        what = "norms are those of this rank's shards" if sharded else "the ledger is that of this rank"
        self._recording.add(NotObserved("ranks", f"{reason}; from step {self._step} on {what}"))

    # ------------------------------------------------------------ telling and hearing

    def _prepared(
        self, reading: StepReading, layout: Layout, gradients: Gradients | None, held: Collection[Tensor]
    ) -> tuple[StepReading, float, float]:
        """With what its square counts for, and with the norm that only this rank has seen."""
        own = math.nan
        if self._unreduced is not None and self._deep.get(reading.step):
            own = self._unreduced.norm(reading.step, held) / reading.loss_scale
        if not layout.sharded or gradients is None:
            return reading, 0.0, own
        groups: dict[float, list[Tensor]] = {}
        for p in held:
            if id(p) in gradients.readings and id(p) in self._shares and local(p).numel():
                groups.setdefault(self._shares[id(p)], []).append(p)
        if not groups:  # every shard of this rank is empty
            reading = replace(reading, gradient_norm=0.0, unclipped_norm=None)
        share = next(iter(groups), 1.0)
        if len(groups) > 1:  # some parameters are whole, or lie on another mesh
            squares = {s: gradients.norm(parameters) ** 2 for s, parameters in groups.items()}
            share = sum(s * square for s, square in squares.items()) / (sum(squares.values()) or 1.0)
        return reading, share, reading.gradient_norm if math.isnan(own) else own

    def _send(self, exchange: Exchange, steps: list[int]) -> None:
        """All readings that are ready, in the order in which every rank has them, and the snapshots of these steps."""
        while self._unsent:
            reading, share, own = self._unsent[0]
            total = step_message(reading, exchange.layout, share, own)
            self._sent.append(Sent(reading.step, reading, exchange.start(total), total))
            self._unsent.pop(0)
        for step in steps:  # a rank that has no snapshot of the step takes part
            message = SnapshotMessage(exchange.layout, self._sites)
            total, top = message.pack(step, self._snapshots.get(step), self._following)
            works = exchange.start(total, top)
            self._sent.append(Sent(step, self._snapshots.pop(step, None), works, total, top, message))
        self._due = [s for s in self._due if s not in steps]

    def _receive(self, exchange: Exchange) -> None:
        while self._sent:
            sent = self._sent[0]
            exchange.finish(sent.works)
            self._sent.pop(0)
            if int(sent.total[0]) != sent.step * exchange.layout.size:
                raise RanksApart("the ranks have taken different numbers of steps")
            if isinstance(sent.event, StepReading):
                reading = with_ranks(sent.event, exchange.layout, sent.total)
                self._recording.add(reading)
                self._note_alarm(reading, lag=1)
            else:
                self._read(sent)

    def _read(self, sent: Sent) -> None:
        message, top = sent.message, sent.top
        assert message is not None
        assert top is not None
        self._next, same = agreed(top)
        if isinstance(sent.event, Snapshot):
            self._recording.add(message.unpack(sent.event, sent.total, top))
            if same:
                self._sites = tuple(e.site.name for e in sent.event.ledger)

    def _note_alarm(self, reading: StepReading, lag: int) -> None:
        sound = math.isfinite(reading.gradient_norm)
        if self._sound and not sound:
            self._alarmed_until = reading.step + lag + ALARMED
        self._sound = sound

    def _labelled(self, event: StepReading | Snapshot) -> StepReading | Snapshot:
        if self._layout is None or isinstance(event, StepReading):
            return event
        return replace(event, stage=replace(event.stage, rank=self._layout.rank, ranks=self._layout.size))
