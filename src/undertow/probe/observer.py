"""Observes a training loop that it doesn't own: taps on the model's forward pass, the gradient and the optimizer."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from undertow.probe.budget import Budget
from undertow.probe.clock import Clock, parameters
from undertow.probe.compiled import Shadow
from undertow.probe.deep import DeepStep
from undertow.probe.gradients import Gradients, Late, Marks
from undertow.probe.loss import running_loss
from undertow.probe.names import named_parameters
from undertow.probe.objective import check_trainable
from undertow.probe.received import Iteration, Received
from undertow.probe.scaler import only_scaler, scale_of, stepping_scaler
from undertow.probe.states import States, tied
from undertow.probe.tap import ForwardTap
from undertow.probe.updates import Weights
from undertow.probe.witness import Witness
from undertow.record import LossReading, NotObserved, Recording, Sink, Snapshot, Stage, StepReading

ALARMED = 2
"""After a gradient that is not finite, this many steps are measured whole."""
LEARN = 1.5
"""The model's parameters are looked at anew each time that the number of steps has grown by half."""
FORWARDS = 16
"""So many forward passes of a step are traced, while no backward pass has gone through them."""


class Observer:
    """Watches `model` until `close()`; what was seen is in `recording`.

    A step is *deep* where its forward and backward pass are measured whole; only then are there hooks on the model.
    Every other step costs one reading of the gradients.  Steps of several optimizers that follow each other without a
    pass between them are one step of the recording.

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
        self.notes_loss = False
        """Whether the loss of each backward pass is noted, where nobody logs it."""
        self._only = optimizer
        self._optimizers: list[Optimizer | None] = []
        """Those that have stepped, by their number; None stands for something that is no optimizer of torch."""
        self._scaler: GradScaler | None = None
        self._states = States(self.recording)
        self._alarms = 0
        self._learnt = -1
        self._usual_passes = 1
        self._uncounted = self._drops = False
        self._late: deque[tuple[int, Callable[[], None]]] = deque()
        self._marks, self._changed_late, self._weights = Marks(()), Late(()), None
        self._stepping: Optimizer | None = None
        self._received: Received | None = None
        self._next_deep: bool | None = None
        self._before: Iteration | None = None
        """The last iteration, while nothing but steps has followed it."""
        self._tap = ForwardTap(model, self._wanted, self._guard, self._has_ledger)
        self._shadow = Shadow(model, self._wanted, self._guard, self.recording.add)
        self._clock = Clock(model, optimizer, self, self._guard)
        self._witness = Witness(model, lambda: self.model.training, self._guard)
        self._note_parallel()
        self._start(0, self.budget.wants(0))

    @property
    def step(self) -> int:
        """The number of the step that is under way."""
        return self._now.number + bool(self._now.stepped)

    def close(self) -> None:
        """Takes every hook off; the model is as it was."""
        self._clock.close()
        self._tap.disarm()
        self._witness.close()
        self._guard(self._end)()
        self._shadow.disarm()
        self._tap.disarm()  # the last step may have armed it for one that does not come
        for account in self._tap.take():  # after an error of ours there may be some left
            account.close()
        self.recording.overhead = self.budget.overhead

    def join(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Takes in the forward pass that has just begun: its pre-hooks were called before there was one of ours."""
        if self._shadow.armed:
            self._guard(self._shadow.enter)(self.model, args, kwargs or {})
            return
        self._witness.before(args, {})
        self._guard(self._tap.enter)(self.model, args)

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours never ends the user's training: it ends the observing, and is said once."""

        def guarded(*args: Any) -> Any:
            if self.failure is not None:
                return None
            try:
                with self.budget.counted():
                    return call(*args)
            except Exception as error:
                self._fail(error)
                return None

        return guarded

    # ------------------------------------------------------------ an iteration

    def _start(self, number: int, deep: bool) -> None:
        """Before its first forward pass, or as soon as it is seen that the one before is over."""
        self._now = Iteration(number, DeepStep() if deep else None)
        self._tap.begin_step()
        self._shadow.begin_step()
        self._next_deep = None
        if deep and number >= LEARN * self._learnt:
            self.look_around()
        if self._stepping is not None:  # in the closure of an optimizer's step
            self._received = None
            self._before_change()
        self._arm(deep)

    def _arm(self, deep: bool) -> None:
        hidden = self._shadow.arm() if deep or None in self._optimizers else False
        self._witness.deepen(deep and not hidden)
        if not hidden:
            self._shadow.disarm()
        if not hidden and (deep or None in self._optimizers):
            self._tap.arm()  # without an optimizer's hooks, a step is seen at the next forward pass
        else:
            self._tap.disarm()

    def look_around(self) -> None:
        """Looks at the parameters that the model has now, and at which of them a backward pass reaches."""
        self._learnt = self._now.number
        self._named = [(name, p) for name, p in named_parameters(self.model) if not is_lazy(p) and p.numel()]
        self._trained = [(name, p) for name, p in self._named if p.requires_grad]
        held = (p for o in self._optimizers if o is not None for p in parameters(o))
        self._all = list({id(p): p for p in (*(p for _, p in self._trained), *held)}.values())
        self._on_host = all(p.is_cpu for p in self._all)
        self._clock.learn()

    def _prepare(self) -> None:
        """The iteration has had its first step: decides about the next one, whose forward pass may come at once."""
        now = self._now.number
        while self._late and self._late[0][0] < now:
            self._late.popleft()[1]()
        self.budget.stepped(now)
        self._next_deep = self.budget.wants(now + 1) or self._alarms > 0
        self._alarms = max(self._alarms - 1, 0)
        self._arm(self._next_deep)

    def _finish(self) -> None:
        """Something other than a step has followed a step, or no other step is due."""
        now = self._now
        self._skipped(now)
        if now.losses:
            self._defer(partial(self._emit_loss, now))
        if now.stepped:
            self._usual_passes = max(now.passes, 1)
        if self._next_deep is None:
            self._prepare()
        self._collect(now)
        self._clock.settle()
        self._before = now
        self._start(now.number + 1, bool(self._next_deep))

    def _end(self) -> None:
        if self._stepped_by_hand():
            self._step_by_hand()
        if self._now.deep is not None and (self._stepping is not None or not self.recording.steps):
            self._collect(self._now)  # a step that failed, or passes without any
        while self._late:
            self._late.popleft()[1]()
        self._scaler = None

    def _defer(self, call: Callable[[], None]) -> None:
        """Numbers that a GPU still computes are read in the next step, which does not wait for them then."""
        if self._on_host:
            call()
        else:
            self._late.append((self._now.number, call))

    # ------------------------------------------------------------ what happens in the loop

    def _wanted(self) -> bool:
        """A forward pass of the model begins; whether to trace it."""
        if torch._C._current_graph_task_id() != -1:  # a checkpoint computes it again
            return False
        self._before = None
        if self._now.stepped:
            self._finish()
        elif self._stepped_by_hand():
            self._step_by_hand()
        return self._now.deep is not None and self.model.training and len(self._tap.accounts) < FORWARDS

    def _has_ledger(self) -> bool:
        """Whether the step has a ledger already, so that a further pass tells no more than its units."""
        account = self._now.deep and self._now.deep.account
        return account is not None and not account.differentiated and not self._drops

    def backward_begins(self, parameter: Tensor) -> None:
        self._before = None
        stepped = bool(self._now.stepped) or self._now.number > 0
        if self._now.stepped:
            self._finish()
        elif self._stepped_by_hand():
            self._step_by_hand()
        elif self._now.passes and self._stepping is None and self._marks.dropped(parameter):
            self._drop()
        if stepped and not self._now.passes:
            self._now.carried = self._marks.added(parameter)

    def backward_ended(self, task: int | None) -> None:
        now = self._now
        now.passes += 1
        if self.notes_loss:
            found = running_loss()
            now.losses += [found.detach()] if found is not None and (found.is_cpu or now.deep) else []
        if self._shadow.unsure:
            self._shadow.look()
        if now.deep is not None:
            accounts = self._tap.take()
            gone_through = [a for a in accounts if a.seal(task)]
            self._tap.accounts += [a for a in accounts if a not in gone_through]
            now.deep.add(gone_through)
        if now.deep is not None or now.passes >= self._usual_passes:
            now.end = Gradients(self._all, scale_of(self._scaler))
            if self._stepping is not None or not any(self._optimizers):  # no hook tells of a step before it is made
                self._look_back_unscaled(now.end)
        now.changed_late = now.changed_late or (now.passes == 1 and self._changed_late.changed())
        self._mark()
        if self._only is None and not any(self._optimizers):
            self._weights = Weights(self._all)
            if now.deep is not None:
                now.deep.before_step(self._trained)

    def before_step(self, optimizer: Optimizer) -> None:
        if optimizer in self._now.stepped:
            self._finish()
        self._stepping, self._received = optimizer, None
        self._passes_before = self._now.passes
        self._before_change()
        iteration = self._iteration_of(optimizer)
        if iteration.passes:  # else it was given a closure, which will compute the gradients
            self._received = self._receive(iteration, optimizer)
            if self._on_host and self._received.broken:
                self._look_back()

    def after_step(self, optimizer: Optimizer) -> None:
        self._stepping = None
        self._witness.stepped()
        received = self._received
        if received is None or self._now.passes > self._passes_before:
            received = self._receive(self._iteration_of(optimizer), optimizer)
        self._received = None
        iteration = received.iteration
        iteration.stepped.append(optimizer)
        if iteration.deep is not None and iteration is self._now:
            iteration.deep.after_step(received.held)
        self._defer(partial(self._emit, received, self._number(optimizer)))
        self._marks.renew()
        if iteration is not self._now:
            return
        if len(iteration.stepped) == 1:
            self._prepare()
        if not iteration.passes:  # no hook saw the pass that filled the gradients
            self._clock.learn()
        if iteration.deep is not None:
            self._changed_late = Late(received.held)
        if all(known in iteration.stepped for known in self._optimizers):
            self._finish()

    def _look_back(self) -> None:
        """At a gradient that is not finite, before an optimizer spreads it over the weights: where it came from.

        On a GPU nothing waits for its size, and the weights have changed before it is known.
        """
        found = self._witness.testify(self._now.number)
        if found is not None:
            self.recording.add(found)

    def _look_back_unscaled(self, end: Gradients) -> None:
        """The same at the end of a pass; the overflow of a scaled loss is left to its scaler."""
        broken = self._on_host and len(end.readings) and not math.isfinite(end.norm(self._all))
        if broken and (self._scaler or only_scaler()) is None:
            self._look_back()

    # ------------------------------------------------------------ steps

    def _iteration_of(self, optimizer: Optimizer) -> Iteration:
        """The present one; or the last, where this optimizer steps after others without a pass between them."""
        before = self._before
        late = before is not None and not self._now.passes and optimizer not in before.stepped
        return before if late and before is not None else self._now

    def _before_change(self) -> None:
        if self._now.deep is not None:
            replayed = self._shadow.measured()
            self._now.eager = self._now.eager or bool(replayed)
            self._now.deep.add(replayed)
            self._now.deep.before_step(self._trained)

    def _receive(self, iteration: Iteration, optimizer: Optimizer) -> Received:
        scaler = stepping_scaler()
        self._scaler = scaler or self._scaler
        held = {id(p) for o in (*self._optimizers, optimizer) if o is not None for p in parameters(o)}
        others = [p for _, p in self._trained if id(p) not in held] if iteration.deep is not None else []
        twice = self._uncounted or (iteration.deep is not None and iteration.number == self._learnt)
        return Received(iteration, optimizer, others, scaler, twice)

    def _emit(self, received: Received, number: int) -> None:
        reading, uncounted = received.reading(number)
        self._uncounted = self._uncounted or uncounted
        self._add(reading)

    def _emit_loss(self, now: Iteration) -> None:
        """What the optimizer stepped on: the sum over the passes, without the factor of a loss scaler."""
        self.recording.add(LossReading(now.number, sum(loss.item() for loss in now.losses) / now.loss_scale))

    def _add(self, reading: StepReading) -> None:
        self.recording.add(reading)
        if not math.isfinite(reading.gradient_norm) and not reading.skipped:
            self._alarms = ALARMED

    def _number(self, optimizer: Optimizer | None) -> int:
        if optimizer not in self._optimizers:
            self._optimizers.append(optimizer)
            self.recording.optimizers.append("unknown" if optimizer is None else type(optimizer).__name__)
            self._learnt = -1  # it may hold other parameters
        return self._optimizers.index(optimizer)

    def _mark(self) -> None:
        """Remembers the gradients by which the next pass will be judged."""
        self._marks = Marks({id(p): p for p in (*self._clock.hooked, *self._all[:1], *self._all[-1:])}.values())

    def _drop(self) -> None:
        """The gradients of the passes so far were dropped: none of the optimizers will see them."""
        now = self._now
        if now.end is not None and not math.isfinite(now.end.norm(self._all)) and len(now.end.readings):
            self._finish()
        else:
            self._drops = True
            now.passes, now.end, now.losses = 0, None, []
            if now.deep is not None:
                now.deep.forget_passes()

    def _skipped(self, now: Iteration) -> None:
        """Notes a step for each optimizer that did not make it, where its gradients are not finite."""
        if now.end is None or (now.stepped and all(o in now.stepped for o in self._optimizers)):
            return
        due = [o for o in self._optimizers or [self._only] if o not in now.stepped]
        for optimizer in due:
            held = self._all if optimizer is None else list(parameters(optimizer))
            size = now.end.norm(held)
            if math.isfinite(size) or not any(id(p) in now.end.readings for p in held):
                continue
            now.loss_scale = self._scale_before(now.end)
            rate = float(optimizer.param_groups[0]["lr"]) if optimizer is not None else math.nan
            number = self._optimizers.index(optimizer) if optimizer in self._optimizers else 0
            self._add(
                StepReading(
                    now.number,
                    size,
                    rate,
                    number,
                    loss_scale=now.loss_scale,
                    passes=now.passes,
                    skipped=True,
                    carried=now.carried,
                )
            )

    def _scale_before(self, end: Gradients) -> float:
        if self._scaler is not None:
            return end.scale
        self._scaler = only_scaler()  # it has backed off since
        return 1.0 if self._scaler is None else self._scaler.get_scale() / self._scaler.get_backoff_factor()

    def _stepped_by_hand(self) -> bool:
        """Whether something that is no optimizer of torch has changed the weights since their backward pass."""
        weights = self._weights
        return weights is not None and self._now.passes > 0 and not any(self._optimizers) and weights.moved()

    def _step_by_hand(self) -> None:
        now = self._now
        end, number = now.end or Gradients(self._all), self._number(None)
        now.stepped.append(None)
        self._witness.stepped()
        self._add(StepReading(now.number, end.norm(self._all), math.nan, number, passes=now.passes))
        if now.deep is not None:
            now.deep.received(end, self._all)
            now.deep.after_step(self._all)
        self._finish()

    # ------------------------------------------------------------ a measured step becomes a snapshot

    def _collect(self, now: Iteration) -> None:
        deep = now.deep
        if deep is None:
            return
        rest = self._tap.take()
        for account in rest:
            account.close()
        if deep.account is None:  # no parameter was reached: the user takes gradients with autograd.grad
            deep.add(a for a in rest if a.seal(None))
        for note in deep.notes.values():
            self.recording.add(note)
        self._defer(partial(self._snapshot, now, deep, self._named, list(self._optimizers)))

    def _snapshot(
        self, now: Iteration, deep: DeepStep, named: list[tuple[str, nn.Parameter]], optimizers: list[Optimizer | None]
    ) -> None:
        if now.stepped:
            self._states.look(named, deep.gradients, optimizers)
        ledger, inputs = deep.ledger(now.number), deep.inputs
        if ledger is not None:
            stage = Stage(now.loss_scale, max(now.passes, 1), eager=now.eager)
            self.recording.add(Snapshot(now.number, ledger, deep.samples, inputs, deep.parameters(), deep.alive, stage))

    def _note_parallel(self) -> None:
        for name, module in self.model.named_modules():
            if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
                reason = "its replicas run in threads of their own, which are not observed; parameters are"
                self.recording.add(NotObserved(name or "DataParallel", reason))

    def _fail(self, error: Exception) -> None:
        self.failure = (
            error  # the tap leaves at the forward's end: inside a call, torch has taken its mode off the stack
        )
        message = (
            f"undertow stopped observing at step {self.step} ({type(error).__name__}: {error}); the training goes on"
        )
        self.recording.add(NotObserved("undertow", message))
        self._witness.close()
        warnings.warn(message, RuntimeWarning, stacklevel=3)
