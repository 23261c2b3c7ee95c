"""What is kept of a step so that it can be run again: the model's inputs, the random state, the gradient that came."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from undertow.probe.nonfinite.origin import origin_of
from undertow.probe.nonfinite.replica import replica
from undertow.probe.tracing.tap import _Hook as Hook
from undertow.probe.tracing.trace import Guard
from undertow.record import NotObserved, Origin

WHAT = "first non-finite value"
MOST = 64
"""Passes that are kept of a step, the last ones."""
MOST_BYTES = 1 << 26
"""Bytes of inputs that are kept of a step's passes but the last, and of one gradient at the output."""


@dataclass(eq=False, slots=True)
class Pass:
    """One forward pass by reference: nothing is copied but the state of the random generators."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    random: dict[torch.device, Tensor]
    autocast: tuple[str, torch.dtype] | None
    gradients: dict[int, Tensor] = field(default_factory=dict)
    """Per leaf of the output, the gradient of the loss that came in."""

    @property
    def size(self) -> int:
        return sum(t.nbytes for t in tree_leaves((self.args, self.kwargs)) if isinstance(t, Tensor))

    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs as values of their own, which the model may change."""

        def own(value: Any) -> Any:
            return value.detach().clone().requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value

        return tree_map(own, (self.args, self.kwargs))

    def keep(self, leaf: int, gradient: Tensor) -> None:
        if gradient.nbytes <= MOST_BYTES:  # a second backward pass through the same graph adds to the first
            known = self.gradients.get(leaf)
            self.gradients[leaf] = gradient if known is None else known + gradient

    @contextmanager
    def setting(self) -> Iterator[None]:
        """Random state and precision as they were at its start; afterwards both are what they are now."""
        devices = [d for d in self.random if d.type == "cuda"]
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            for device, state in self.random.items():
                torch.set_rng_state(state) if device.type == "cpu" else torch.cuda.set_rng_state(state, device)
            kind, dtype = self.autocast or ("cpu", torch.bfloat16)
            with torch.autocast(kind, dtype, enabled=self.autocast is not None), _alone():
                yield


@contextmanager
def _alone() -> Iterator[None]:
    """Other ranks don't run this pass again: to talk to them would wait for ever."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        with _NoCollectives():
            yield
    else:
        yield


class _NoCollectives(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "c10d" in func.namespace:
            raise RuntimeError("its pass talks to other ranks")
        return func(*args, **(kwargs or {}))


class Witness:
    """Keeps the forward passes since the last step; costs a few microseconds a pass.

    Passes that are being compiled are not kept: the hook vanishes from the compiled code.
    """

    def __init__(
        self, model: nn.Module, wanted: Callable[[], bool] | None = None, guard: Guard = lambda call: call
    ) -> None:
        """`wanted` tells whether a pass that begins is kept; by default those in training mode are."""
        self.model, self.wanted, self._guard = model, wanted, guard
        self.passes: deque[Pass] = deque()
        self.dropped = self._bytes = 0
        self.over = False
        """An optimizer has stepped: with the next forward pass another step begins."""
        self._seconds = 0.0
        self._draws: bool | None = None  # whether passes draw random numbers; None until one was seen to its end
        self._failure: NotObserved | None = None
        devices = {p.device for p in model.parameters()}
        self._kind = min((d.type for d in devices if d.type != "cpu"), default="cpu")
        self._generators = {torch.device("cpu"): torch.default_generator}
        self._generators |= {d: torch.cuda.default_generators[d.index] for d in devices if d.type == "cuda"}
        self._handles: list[Any] = [model.register_forward_pre_hook(_Before(self), with_kwargs=True)]

    def close(self) -> None:
        """Takes the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.passes.clear()

    def deepen(self, deep: bool) -> None:
        """Whether the gradients at the output of the passes that come are kept too."""
        if deep and len(self._handles) == 1:
            self._handles.append(self.model.register_forward_hook(Hook(self._guard(self._after))))
        elif not deep and len(self._handles) == 2:
            self._handles.pop().remove()

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pass starts.  It runs in every step, without the observer's guard, which costs as much again."""
        wanted = self.model.training if self.wanted is None else self.wanted()
        if not (wanted and torch.is_grad_enabled()) or torch._C._are_functorch_transforms_active():
            return
        start = time.perf_counter()
        if self.over:
            self.passes.clear()
            self.dropped, self._bytes, self.over = 0, 0, False
        kind = self._kind
        autocast = (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None
        random = self._random_state() if self._draws is not False or len(self._handles) > 1 else {}
        if self.passes:
            self._bytes += self.passes[-1].size
        self.passes.append(Pass(args, kwargs, random, autocast))
        while self._bytes > MOST_BYTES or len(self.passes) > MOST:
            self._bytes -= self.passes.popleft().size
            self.dropped += 1
        self._seconds += time.perf_counter() - start

    def _random_state(self) -> dict[torch.device, Tensor]:
        return {device: generator.get_state() for device, generator in self._generators.items()}

    def spent(self) -> float:
        """Seconds that keeping took since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _after(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        busy = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        if busy or not self.passes or not torch.is_grad_enabled():
            return
        before = self.passes[-1].random
        if before and not self._draws:
            now = self._random_state()
            self._draws = any(not torch.equal(now[device], state) for device, state in before.items())
        for leaf, tensor in enumerate(tree_leaves(output)):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(_Incoming(self.passes[-1], leaf))

    def give_up(self, error: Exception) -> None:
        """An error of ours never ends the user's training."""
        self.close()
        self._failure = NotObserved(WHAT, f"passes could not be kept ({type(error).__name__}: {error})")

    def testify(self, step: int) -> Origin | NotObserved | None:
        """What `find` finds, the first time; afterwards the weights may be spoilt, and nothing is kept any more."""
        if not self._handles:
            return self._failure
        found = self.find(step)
        self.close()
        return found

    def find(self, step: int) -> Origin | NotObserved:
        """Where the first value of the step's passes that is not finite arose, found by running them again on the side.

        Nothing of the model, the random state or the gradients changes.  Where it could not be found, why.
        """
        if not self.passes:
            return NotObserved(WHAT, "no forward pass of this step was kept: the model is compiled, or not called")
        try:
            twin = replica(self.model)
            for kept in self.passes:
                origin = origin_of(twin, kept, step)
                if origin is not None:
                    return origin
        except torch.OutOfMemoryError:
            return NotObserved(WHAT, "no memory to run the step again on the side")
        except Exception as error:  # the user's own code runs here, in a state that it may not expect
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            return NotObserved(WHAT, f"the step could not be run again on the side: {reason}")
        return NotObserved(WHAT, _nowhere(self.dropped))


def _nowhere(dropped: int) -> str:
    """Why running the step again shows nothing."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    places = ["a penalty on the weights", "gradients changed by the loop", *(["another rank"] if several else [])]
    kept = f"; {dropped} of its passes were no longer at hand" if dropped else ""
    return f"run again on the side, the step stayed finite: look outside of model(...), at {' or '.join(places)}{kept}"


class _Before(Hook):
    """A forward pre-hook that torch.compile leaves out."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def __call__(self, *given: Any) -> None:
        if not torch.compiler.is_compiling():
            try:
                self.witness.before(given[1], given[2])
            except Exception as error:
                self.witness.give_up(error)


class _Incoming:
    """A tensor hook that keeps what comes in."""

    def __init__(self, kept: Pass, leaf: int) -> None:
        self.kept, self.leaf = kept, leaf

    def __call__(self, gradient: Tensor) -> None:
        self.kept.keep(self.leaf, gradient.detach())
