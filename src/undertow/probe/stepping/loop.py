"""A training loop as a sequence of iterations: which passes and steps belong together, which were left out."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from undertow.probe.stepping.clock import Clock, parameters
from undertow.probe.stepping.gradients import Gradients, Late, Marks
from undertow.probe.stepping.received import Iteration, Received, rate_of
from undertow.probe.stepping.scaler import only_scaler, scale_of, stepping_scaler
from undertow.probe.stepping.updates import Weights
from undertow.probe.stepping.watcher import Watcher
from undertow.record import StepReading

SEARCHES = 5
"""A search for a loss scaler looks at every object of the process; ours."""


class Loop:
    """Listens to the clock.

    An iteration goes from its first forward pass to the last of the steps that follow each other without a pass
    between them.  It is over when every optimizer that is known has stepped, or when something else follows a step.
    """

    def __init__(self, watcher: Watcher, only: Optimizer | None) -> None:
        self.watcher, self._only = watcher, only
        self.clock: Clock | None = None
        self.optimizers: list[Optimizer | None] = []
        """Those that have stepped, by their number; None stands for something that is no optimizer of torch."""
        self.drops = False
        """Whether gradients were ever dropped that an optimizer could have used."""
        self.stepping: Optimizer | None = None
        self._scaler: GradScaler | None = None
        self._searches = 0
        self._usual_passes, self._passes_before = 1, 0
        self._uncounted = False
        self._marks, self._late, self._weights = Marks(()), None, None
        self._received: Received | None = None
        self._next_deep: bool | None = None
        self._before: Iteration | None = None
        """The last iteration, while nothing but steps has followed it."""

    def start(self, number: int, deep: bool) -> None:
        self._next_deep = None
        self.now = self.watcher.begin(number, deep)
        if self.stepping is not None:  # in the closure of an optimizer's step
            self._received = None
            self.watcher.before_change(self.now)

    def end(self) -> None:
        """No more events come."""
        if self._stepped_by_hand():
            self._step_by_hand()
        self._scaler = None

    # ------------------------------------------------------------ what happens

    def look_around(self) -> None:
        """A lazy model has its parameters now."""
        self.watcher.look_around()

    def forward_begins(self) -> None:
        self._before = None
        if self.now.stepped:
            self._finish()
        elif self._stepped_by_hand():
            self._step_by_hand()

    def backward_begins(self, parameter: Tensor) -> None:
        later = bool(self.now.stepped) or self.now.number > 0
        between = not self.now.stepped and self.stepping is None
        self.forward_begins()
        if between and self.now.passes and self._marks.dropped(parameter):
            self._drop()
        if later and not self.now.passes:
            self.now.carried = self._marks.added(parameter)

    def backward_ended(self, task: int | None) -> None:
        now, inventory = self.now, self.watcher.inventory
        now.passes += 1
        self.watcher.passed(now, task)
        unknown = not any(self.optimizers)
        early = inventory.on_host and (self.stepping is not None or unknown)  # no hook tells before the weights change
        if now.deep is not None or (now.normed and now.passes >= self._usual_passes):
            now.end = Gradients(inventory.all, scale_of(self._scaler))
            if early and len(now.end.readings) and not math.isfinite(now.end.norm(inventory.all)):
                self._look_back()
        elif early and not inventory.sound:
            self._look_back()
        if now.passes == 1 and self._late is not None:
            now.changed_late, self._late = now.changed_late or self._late.changed(), None
        self._mark()
        if self._only is None and unknown:
            self._weights = Weights(inventory.all)
            if now.deep is not None:
                now.deep.before_step(inventory.samples)

    def before_step(self, optimizer: Optimizer) -> None:
        if optimizer in self.now.stepped:
            self._finish()
        self.stepping, self._received = optimizer, None
        self._passes_before = self.now.passes
        self.watcher.before_change(self.now)
        iteration, inventory = self._iteration_of(optimizer), self.watcher.inventory
        if iteration.passes and iteration.read:  # else it was given a closure, which will compute the gradients
            self._received = self._receive(iteration, optimizer)
            if inventory.on_host and self._received.broken:
                self.watcher.look_back(self.now.number)
        elif iteration.passes and not (iteration.sound or inventory.sound or hasattr(optimizer, "found_inf")):
            self.watcher.look_back(self.now.number)

    def after_step(self, optimizer: Optimizer) -> None:
        self.stepping = None
        self.watcher.witness.over = True
        received, self._received = self._received, None
        iteration = received.iteration if received else self._iteration_of(optimizer)
        if iteration.read and (received is None or self.now.passes > self._passes_before):
            iteration = self._iteration_of(optimizer)
            received = self._receive(iteration, optimizer)
        iteration.stepped.append(optimizer)
        if iteration.deep is not None and iteration is self.now:
            iteration.deep.after_step(parameters(optimizer))
        number = self._number(optimizer)
        if received is not None:
            self.watcher.defer(self.now.number, partial(self._emit, received, number))
        elif len(iteration.stepped) == 1:
            self.watcher.recording.unread_steps += 1
        self._marks.renew()
        if iteration is self.now:
            self._stepped(iteration, optimizer)

    def _stepped(self, now: Iteration, optimizer: Optimizer) -> None:
        if len(now.stepped) == 1:
            self._next_deep = self.watcher.decide(now.number)
        if not now.passes and self.clock:  # no hook saw the pass that filled the gradients
            self.clock.learn()
        if now.deep is not None:
            self._late = Late(list(parameters(optimizer)))
        if all(known in now.stepped for known in self.optimizers):
            self._finish()
            if self.clock and not self.now.read and self._is_plain(now):
                self._late = Late(())
                self.watcher.rest(optimizer)

    def _is_plain(self, before: Iteration) -> bool:
        """Whether steps like this one can be counted by the optimizer's hooks alone."""
        outside = 0 < before.passes == self._passes_before  # a closure's passes are inside of the step
        wraps = self.clock is not None and self.clock.wraps
        return outside and len(self.optimizers) == 1 and self._scaler is None and not wraps

    def resume(self, number: int, read: bool) -> None:
        """After steps that were left alone: the last of them is about to be made."""
        self.now = Iteration(number, None, self._usual_passes, sound=not read, normed=read)
        self._before, self._next_deep = None, None
        self._mark()

    def _finish(self) -> None:
        """Something other than a step has followed a step, or no other step is due."""
        now = self.now
        self._note_skipped(now)
        if now.stepped:
            self._usual_passes = max(now.passes, 1)
        deep = self.watcher.decide(now.number) if self._next_deep is None else self._next_deep
        self.watcher.finished(now, self.optimizers)
        self._before = now
        self.start(now.number + 1, deep)

    def _mark(self) -> None:
        everything = self.watcher.inventory.all
        looked_at = (*(self.clock.hooked if self.clock else ()), *everything[:1], *everything[-1:])
        self._marks = Marks({id(p): p for p in looked_at}.values())

    # ------------------------------------------------------------ steps of optimizers

    def _iteration_of(self, optimizer: Optimizer) -> Iteration:
        """The present one; or the last, where this optimizer steps after others without a pass between them."""
        before = self._before
        late = before is not None and not self.now.passes and optimizer not in before.stepped
        return before if late and before is not None else self.now

    def _receive(self, iteration: Iteration, optimizer: Optimizer) -> Received:
        scaler = stepping_scaler()
        self._scaler = scaler or self._scaler
        deep = iteration.deep is not None
        others = self.watcher.inventory.unheld((*self.optimizers, optimizer)) if deep else []
        unsure = iteration.number == self.watcher.learnt or self.watcher.inventory.uncounted
        twice = self._uncounted or (deep and unsure)
        return Received(iteration, optimizer, others, scaler, twice)

    def _emit(self, received: Received, number: int) -> None:
        reading, uncounted = received.reading(number)
        self._uncounted = self._uncounted or uncounted
        self.watcher.add(reading, received.gradients, received.held)

    def _number(self, optimizer: Optimizer | None) -> int:
        if optimizer not in self.optimizers:
            self.optimizers.append(optimizer)
            self.watcher.recording.optimizers.append("unknown" if optimizer is None else type(optimizer).__name__)
            self.watcher.learnt = -1  # it may hold other parameters
        return self.optimizers.index(optimizer)

    def _look_back(self) -> None:
        """At gradients that are not finite; the overflow of a scaled loss is left to its scaler."""
        if self._searched_scaler() is None:
            self.watcher.look_back(self.now.number)

    # ------------------------------------------------------------ passes without a step

    def _drop(self) -> None:
        """The gradients of the passes so far were dropped: none of the optimizers will see them."""
        now = self.now
        if now.end is not None and not math.isfinite(now.end.norm(self.watcher.inventory.all)) and now.end.readings:
            self._finish()
            return
        self.drops = True
        now.passes, now.end, now.losses = 0, None, []
        if now.deep is not None:
            now.deep.forget_passes()

    def _note_skipped(self, now: Iteration) -> None:
        """Notes a step for each optimizer that did not make it, where its gradients are not finite."""
        if now.end is None or (now.stepped and all(o in now.stepped for o in self.optimizers)):
            return
        for optimizer in self.optimizers or [self._only]:
            if optimizer in now.stepped:
                continue
            held = self.watcher.inventory.all if optimizer is None else list(parameters(optimizer))
            size = now.end.norm(held)
            if not math.isfinite(size) and any(id(p) in now.end.readings for p in held):
                now.loss_scale = self._scale_before(now.end)
                rate = math.nan if optimizer is None else rate_of(optimizer)
                number = self.optimizers.index(optimizer) if optimizer in self.optimizers else 0
                scale, passes, carried = now.loss_scale, now.passes, now.carried
                self.watcher.add(
                    StepReading(
                        now.number, size, rate, number, None, scale, passes=passes, skipped=True, carried=carried
                    )
                )

    def _scale_before(self, end: Gradients) -> float:
        if self._scaler is not None:
            return end.scale
        found = self._scaler = self._searched_scaler()  # it has backed off since
        return 1.0 if found is None else found.get_scale() / found.get_backoff_factor()

    def _searched_scaler(self) -> GradScaler | None:
        """The scaler, before it has made a step; a run that stays broken is not searched forever."""
        if self._scaler is None and self._searches < SEARCHES:
            self._searches += 1
            return only_scaler()
        return self._scaler

    # ------------------------------------------------------------ steps of something else

    def _stepped_by_hand(self) -> bool:
        """Whether something that is no optimizer of torch has changed the weights since their backward pass."""
        weights = self._weights
        return weights is not None and self.now.passes > 0 and not any(self.optimizers) and weights.moved()

    def _step_by_hand(self) -> None:
        now, everything = self.now, self.watcher.inventory.all
        end, number = now.end or Gradients(everything), self._number(None)
        now.stepped.append(None)
        self.watcher.witness.over = True
        reading = StepReading(now.number, end.norm(everything), math.nan, number, passes=now.passes)
        self.watcher.add(reading, end, everything)
        if now.deep is not None:
            now.deep.received(end, everything)
            now.deep.after_step(everything)
        self._finish()
