"""Observes a training loop that it doesn't own: taps on the model's forward pass, the gradient and the optimizer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.foundation.warn import warn
from undertow.probe.compiled import Shadow
from undertow.probe.nonfinite.witness import Witness
from undertow.probe.objective import check_trainable
from undertow.probe.sharing.ranks import Ranks
from undertow.probe.stepping.budget import Budget
from undertow.probe.stepping.clock import Clock
from undertow.probe.stepping.deep import DeepStep
from undertow.probe.stepping.gradients import Gradients
from undertow.probe.stepping.inventory import Inventory
from undertow.probe.stepping.loop import Loop
from undertow.probe.stepping.loss import running_loss
from undertow.probe.stepping.received import Iteration
from undertow.probe.stepping.states import States, tied, unseen
from undertow.probe.tracing.tap import ForwardTap
from undertow.probe.unrolled.attending import Attending
from undertow.probe.unrolled.through_time import ThroughTime
from undertow.probe.wiring.looks import Looks
from undertow.record import NotObserved, Recording, Sink, Stage, StepReading
from undertow.record.thinning import Turns

ALARMED = 2
"""After a gradient that is not finite, or ten times what it was lately, this many steps are measured whole."""
LEARN = 1.5
"""The model's parameters are looked at anew each time that the number of steps has grown by half."""
FORWARDS = 16
"""So many forward passes wait for a backward pass: the last ones of a step."""


class Observer:
    """Watches `model` until `close()`; what was seen is in `recording`.

    A step is *deep* where its forward and backward pass are measured whole; only then are there hooks on the model.
    Of some others the gradients' norms are read; the rest are left alone but for a look at one gradient.  Steps of
    several optimizers that follow each other without a pass between them are one step of the recording.

    Parameters
    ----------
    model:
        Observed wherever its forward pass runs in training mode with gradients on.
    optimizer:
        Its steps count; without one, every optimizer that holds a parameter of the model does.
    budget:
        Share of the run's time that observing may cost; None measures every step whole.
    name, sinks:
        Of the recording.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        budget: float | None = 0.02,
        *,
        name: str = "model",
        sinks: Iterable[Sink] = (),
    ) -> None:
        check_trainable(model)
        self.model = model
        self.recording = Recording(name=name, sinks=list(sinks), tied=tied(model))
        self.budget = Budget(budget)
        self.failure: Exception | None = None
        self.notes_loss = True
        """Whether the loss of each backward pass that is seen is noted: until somebody logs it."""
        self.inventory = Inventory(model)
        self.learnt = -1
        """The step whose parameters were looked at last."""
        self._alarms, self._turns = 0, Turns()
        self._deferred: deque[tuple[int, Callable[[], None]]] = deque()
        self._states = States(self.recording)
        self._looks = Looks(model)
        self._ranks = Ranks(model, self.recording, budget is None, self._guard)
        self._tap = ForwardTap(model, self._wanted, self._guard, self._has_ledger)
        self._shadow = Shadow(model, self._wanted, self._guard, self.recording.add)
        self._time = ThroughTime(model, self._guard, self.recording.add)
        self._attention = Attending(model, self._guard, self.recording.add)
        self._loop = Loop(self, optimizer)
        self._loop.clock = self._clock = Clock(model, optimizer, self._loop, self._guard)
        self.witness = Witness(model, guard=self._guard)
        for note in unseen(model):
            self.recording.add(note)
        self._loop.start(0, self.budget.wants(0))

    @property
    def _now(self) -> Iteration:
        return self._loop.now

    @property
    def step(self) -> int:
        """The number of the step that is under way."""
        return self._clock.rest.number if self._clock.rest.left else self._now.number + bool(self._now.stepped)

    def close(self) -> None:
        """Takes every hook off; the model is as it was."""
        if self._clock.rest.left:
            self._guard(self.woken)()
        self._clock.close()
        self._tap.disarm()
        self._time.disarm()
        self._attention.disarm()
        self.witness.close()
        self._guard(self._end)()
        self._guard(self._ranks.close)()
        self._shadow.disarm()
        self._tap.disarm()  # the last step may have armed it for one that does not come
        for account in self._tap.take():  # after an error of ours there may be some left
            account.close()
        self.recording.overhead, self.recording.overhead_later = self.budget.overhead, self.budget.overhead_later

    def _end(self) -> None:
        self._loop.end()
        if self._now.deep is not None and (self._loop.stepping is not None or not self.recording.steps):
            self.finished(self._now, self._loop.optimizers)  # a step that failed, or passes without any
        while self._deferred:
            self._deferred.popleft()[1]()

    def join(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Takes in the forward pass that has just begun: its pre-hooks were called before there was one of ours."""
        if self._shadow.armed:
            self._guard(self._shadow.enter)(self.model, args, kwargs or {})
            return
        self.witness.before(args, {})
        self._guard(self._tap.enter)(self.model, args)

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours never ends the user's training: it ends the observing, and is said once."""

        def guarded(*args: Any) -> Any:
            if self.failure is not None:
                return None
            start = self.budget.clock()
            try:
                return call(*args)
            except Exception as error:
                self.fail(error)
                return None
            finally:
                self.budget.charge(self.budget.clock() - start)

        return guarded

    # ------------------------------------------------------------ an iteration

    def begin(self, number: int, deep: bool) -> Iteration:
        """Before its first forward pass, or as soon as it is seen that the one before is over."""
        self._tap.begin_step()
        self._shadow.begin_step()
        if number:
            self._ranks.after_step(number - 1, self.budget.next, late=not self.inventory.on_host)
        self._ranks.begin(number, deep)
        normed = deep or self._ranks.need_norms or self.budget.wants_norms(number)
        now = Iteration(number, DeepStep() if deep else None, normed=normed)
        if deep and number >= LEARN * self.learnt:
            self.learnt = number
            self.look_around()
        self._arm(number, deep)
        return now

    def _arm(self, number: int, deep: bool) -> None:
        by_hand = None in self._loop.optimizers  # without an optimizer's hooks, the next forward pass shows a step
        hidden = self._shadow.arm() if deep or by_hand else False
        self.witness.deepen(deep and not hidden)
        if not hidden:
            self._shadow.disarm()
        if not hidden and (deep or by_hand):
            self._tap.arm()
        else:
            self._tap.disarm()
        if deep and not hidden:
            self._time.arm(number)
            self._attention.arm(number)

    def look_around(self) -> None:
        """Looks at the parameters that the model has now, and at which of them a backward pass reaches."""
        self.inventory = Inventory(self.model, self._loop.optimizers)
        self._clock.learn()

    def decide(self, number: int) -> bool:
        """After the first optimizer's step of an iteration, for its next forward pass may come at once."""
        while self._deferred and self._deferred[0][0] < number:
            self._deferred.popleft()[1]()
        self.budget.stepping(number, self._now.kind)
        together = self._ranks.wants(number + 1)
        deep = self.budget.wants(number + 1, True if together is None and self._alarms > 0 else together)
        self._alarms = max(self._alarms - 1, 0)
        self._ranks.begin(number + 1, deep)
        self._arm(number + 1, deep)
        return deep

    def defer(self, number: int, call: Callable[[], None]) -> None:
        """Numbers that a GPU still computes are read in the next step, which does not wait for them then."""
        if self.inventory.on_host:
            call()
        else:
            self._deferred.append((number, call))

    def add(self, reading: StepReading, gradients: Gradients | None = None, held: Collection[Tensor] = ()) -> None:
        """Keeps the reading of a step; a turn of their gradients makes the next ones deep."""
        self._ranks.add(reading, gradients, held)
        if not reading.skipped and self._turns.see(reading.step, reading.gradient_norm, line=reading.optimizer):
            self._alarms = ALARMED

    # ------------------------------------------------------------ passes

    def _wanted(self) -> bool:
        """A forward pass of the model begins; whether to trace it."""
        if torch._C._current_graph_task_id() != -1:  # a checkpoint computes it again
            return False
        self._ranks.forward_begins()
        self._loop.forward_begins()
        if len(self._tap.accounts) >= FORWARDS:  # the oldest may be of no training: an evaluation with gradients on
            self._tap.accounts.pop(0).close()
        return self._now.deep is not None and self.model.training

    def _has_ledger(self) -> bool:
        """Whether the step has a ledger already, so that a further pass tells no more than its units."""
        account = self._now.deep and self._now.deep.account
        return account is not None and not account.differentiated and not self._loop.drops

    def passed(self, now: Iteration, task: int | None) -> None:
        """Takes over the accounts through which a backward pass has gone."""
        if self.notes_loss:
            found = running_loss()
            now.losses += [found.detach()] if found is not None and (found.is_cpu or now.deep) else []
        if now.deep is not None and self._looks.wanted(now.number):
            self._looks.heard(running_loss())
        if self._shadow.unsure:
            self._shadow.look()
        if now.deep is not None:
            accounts = self._tap.take()
            gone_through = [a for a in accounts if a.seal(task)]
            self._tap.accounts += [a for a in accounts if a not in gone_through]
            now.deep.add(gone_through)
            self.budget.charge(sum(a.seconds for a in gone_through))

    def before_change(self, now: Iteration) -> None:
        """Reads what the step will change."""
        self.budget.charge(self.witness.spent())
        self.budget.stepping(now.number, now.kind)
        self._ranks.before_step()
        if now.deep is not None:
            replayed = self._shadow.measured()
            now.eager = now.eager or bool(replayed)
            now.deep.add(replayed)
            now.deep.before_step(self.inventory.samples)
            if now.passes and self._looks.wanted(now.number):
                optimizers = (*self._loop.optimizers, self._loop.stepping)
                self.recording.add(self._looks.look(now.number, self._tap.take_cuts(), optimizers))
                self._tap.listens = self._looks.wanted(now.number + 1)
            now.deep.times |= self._time.measured()
            now.deep.attention |= self._attention.measured()

    def rest(self, optimizer: Optimizer) -> None:
        """Leaves steps alone until one is wanted."""
        if not (self._ranks.several or self._deferred):
            self._clock.sleep()
            self._clock.rest.begin(self, optimizer, self.inventory.sentinel, self._now.number)

    def woken(self, sound: bool = True) -> None:
        """The step that is under way is the last of those, or its gradients are not finite."""
        rest = self._clock.rest
        self._clock.wake()
        self.budget.rested(self._now.number, rest.times, rest.seconds + self.witness.spent())
        self._loop.resume(rest.number, not sound)

    def look_back(self, number: int) -> None:
        """At a gradient that is not finite, before an optimizer spreads it over the weights: where it came from.

        On a GPU nothing waits for its size, and the weights have changed before it is known.
        """
        if (found := self.witness.testify(number)) is not None:
            self.recording.add(found)

    # ------------------------------------------------------------ a measured step becomes a snapshot

    def finished(self, now: Iteration, optimizers: list[Optimizer | None]) -> None:
        """An iteration is over."""
        self._clock.settle()
        if now.losses and self.notes_loss:
            self.defer(now.number, lambda: self.recording.add(now.loss))
        if (deep := now.deep) is None:
            return
        for account in (rest := self._tap.take()):
            account.close()
        if deep.account is None:  # no parameter was reached: the user takes gradients with autograd.grad
            deep.add(a for a in rest if a.seal(None))
        for note in deep.notes.values():
            self.recording.add(note)
        self.defer(now.number, partial(self._add_snapshot, now, deep, self.inventory, list(optimizers)))

    def _add_snapshot(
        self, now: Iteration, deep: DeepStep, inventory: Inventory, optimizers: list[Optimizer | None]
    ) -> None:
        if now.stepped:
            self._states.look(inventory.named, deep.gradients, optimizers)
        stage = Stage(now.loss_scale, max(now.passes, 1), eager=now.eager)
        if (found := deep.snapshot(now.number, stage)) is not None:
            self._ranks.snapshot(found)

    def fail(self, error: Exception) -> None:
        self.failure = error  # the tap leaves at the forward's end: inside a call, torch's stack lacks its mode
        what = f"{type(error).__name__}: {error}"
        message = f"undertow stopped observing at step {self.step} ({what}); the training goes on"
        self._ranks.leave()
        self.recording.add(NotObserved("undertow", message))
        self.witness.close()
        warn(message)
