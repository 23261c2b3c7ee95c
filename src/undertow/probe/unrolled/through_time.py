"""The backward value at each time step of a fused recurrent layer, inside a training that is not ours.

In some of the measured steps a few of the layer's inputs are kept, and the gradients that come to its outputs.  Before
the weights change, the layer runs once more on the side, step by step, and back.  Nothing of the user's is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from undertow.probe.nonfinite.replica import replica
from undertow.probe.tracing.tap import _Hook as Hook
from undertow.probe.tracing.trace import Guard
from undertow.probe.unrolled.profile import profile
from undertow.probe.unrolled.recurrent import State, Stepwise, unroll
from undertow.probe.unrolled.seldom import Seldom
from undertow.probe.unrolled.sequences import Shape, few_of_sequences, few_of_states, length, shape_of
from undertow.record import NotObserved, TimeReading
from undertow.record.names import module_names

SHORT = 4
"""A shorter sequence has no time to speak of (a decoder that is called for one step after the other).  Ours."""
LONG = 4096
"""A longer one is not replayed: step by step it takes a second.  Ours."""
_task: Callable[[], int] = torch._C._current_graph_task_id  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(eq=False)
class Kept:
    """One call of a layer: what it was given, and what the loss sent back to each tensor that it gave."""

    shape: Shape
    given: Any
    state: Any
    length: int
    gradients: dict[int, Tensor] = field(default_factory=dict)
    """By the place of the tensor in the output: the sequences, then the parts of the last state."""
    task: int = -1
    handles: list[Any] = field(default_factory=list)

    def came(self, place: int, gradient: Tensor) -> None:
        task = _task()
        if task != self.task:  # of several backward passes through it the last is the loss's
            self.task = task
            self.gradients.clear()
        few = few_of_states if place else few_of_sequences
        self.gradients[place] = few(self.shape, gradient)

    def release(self) -> None:
        for handle in self.handles:
            handle.remove()


class ThroughTime:
    """Keeps calls of the recurrent layers of `model` while armed; `measured()` replays them."""

    def __init__(self, model: nn.Module, guard: Guard, note: Callable[[NotObserved], None]) -> None:
        names = module_names(model)
        self._layers = {m: names[raw] for raw, m in model.named_modules() if type(m) in (nn.RNN, nn.LSTM, nn.GRU)}
        self._guard, self._note = guard, note
        self._seldom = Seldom()
        self._kept: dict[nn.RNNBase, Kept] = {}
        self._handles: list[Any] = []

    def arm(self, step: int) -> None:
        """Before the passes of a measured step; again for the same step it does nothing."""
        if not self._layers or not self._seldom.new(step):
            return
        self.disarm()
        if not self._seldom.wants(step):
            return
        for layer in self._layers:
            self._handles.append(layer.register_forward_hook(Hook(self._guard(self._after)), with_kwargs=True))

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for kept in self._kept.values():
            kept.release()
        self._kept.clear()

    def _after(self, *call: Any) -> None:
        with torch._C.DisableTorchFunction():  # no part of what the user's modes, or our trace, are to see
            self._keep(*call)

    def _keep(self, layer: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given: Any = args[0] if args else kwargs["input"]
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        first = tree_leaves(output[0].data if isinstance(output[0], PackedSequence) else output[0])[0]
        if not layer.training or _task() != -1 or first.grad_fn is None or torch._C._are_functorch_transforms_active():
            return
        time, before = length(layer, given), self._kept.get(layer)
        if not SHORT <= time <= LONG or (before is not None and before.length >= time):
            return
        shape = shape_of(layer, given)
        kept = Kept(shape, few_of_sequences(shape, given), few_of_states(shape, state), time)
        if before is not None:
            before.release()
        self._kept[layer] = kept
        ends = output[1] if isinstance(output[1], tuple) else (output[1],)
        for place, tensor in enumerate((first, *ends)):
            if tensor.grad_fn is not None:
                arriving = _Arriving(self._guard(kept.came), place, tensor.output_nr)
                kept.handles.append(tensor.grad_fn.register_prehook(arriving))

    def measured(self) -> dict[str, TimeReading]:
        """Per layer and direction, named as `recurrent` names their sites; before the weights change."""
        found: dict[str, TimeReading] = {}
        for layer, kept in self._kept.items():
            if kept.gradients:
                path = self._layers[layer]
                try:
                    ways = replayed(layer, kept)
                except Exception as error:  # the user's own hooks (a weight norm) may not run on the side
                    reason = str(error).strip().split("\n")[0] or type(error).__name__
                    self._note(NotObserved(f"{path} through time", f"could not be run again on the side: {reason}"))
                    continue
                found |= {_name(path, layer, way): reading for way, reading in ways.items()}
        self.disarm()
        return found


def replayed(layer: nn.RNNBase, kept: Kept) -> dict[tuple[int, int], TimeReading]:
    """Per layer and direction; dropout between the layers is left out, and no random number drawn."""
    twin = replica(layer, unroll)
    assert isinstance(twin, Stepwise)
    twin.requires_grad_(False)
    dtype = next(iter(tree_leaves(kept.given.data if isinstance(kept.given, PackedSequence) else kept.given))).dtype
    if any(p.dtype != dtype for p in twin.parameters()):
        twin = twin.to(dtype)
    twin.dropout, twin.listener = 0.0, (states := States())
    given = kept.given
    with torch.enable_grad(), torch.autocast(next(twin.parameters()).device.type, enabled=False):
        (given.data if isinstance(given, PackedSequence) else given).requires_grad_()
        output, ends = twin.stepwise(given, kept.state)
        made = [
            output.data if isinstance(output, PackedSequence) else output,
            *(ends if type(ends) is tuple else (ends,)),
        ]
        places = [place for place in kept.gradients if made[place].requires_grad]
        most = max((float(g.abs().max()) for g in kept.gradients.values()), default=0.0)
        scale = most if 0 < most < math.inf else 1.0  # the gradient far back must not leave the format on its own
        sent = [kept.gradients[place].reshape(made[place].shape) / scale for place in places]
        wanted = states.tensors
        got = torch.autograd.grad([made[place] for place in places], wanted, sent, allow_unused=True)
    gradients = {id(t): g for t, g in zip(wanted, got, strict=True)}
    kind = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(layer.mode, "")
    with torch.no_grad():
        return {way: profile(states.steps[way], gradients, scale, kind) for way in states.steps}


class States:
    """Notes the states of each way, and gives each step an alias of what it takes: its gradient is what is carried."""

    def __init__(self) -> None:
        self.steps: dict[tuple[int, int], list[tuple[int, State, State]]] = {}
        """By layer and direction, for each step its time, the state that it made, and what the next one took."""

    def taken(self, way: tuple[int, int], time: int, state: State) -> State:
        alias = tuple(s.view_as(s) for s in state)
        at, made, _ = self.steps[way][-1]
        self.steps[way][-1] = at, made, alias
        return alias

    def made(self, way: tuple[int, int], time: int, state: State) -> None:
        self.steps.setdefault(way, []).append((time, state, ()))

    @property
    def tensors(self) -> list[Tensor]:
        return [t for steps in self.steps.values() for _, made, taken in steps for t in (*made, *taken)]


def _name(path: str, layer: nn.RNNBase, way: tuple[int, int]) -> str:
    parts = [path or "forward", *([f"l{way[0]}"] if layer.num_layers > 1 else []), *["reverse"] * way[1]]
    return ".".join(parts)


class _Arriving:
    """A hook on the node of one output."""

    def __init__(self, came: Callable[[int, Tensor], None], place: int, output: int) -> None:
        self.came, self.place, self.output = came, place, output

    def __call__(self, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[self.output] if self.output < len(gradients) else None
        if gradient is not None:
            self.came(self.place, gradient)
