"""Compiled models: measured on a replay of the batch beside the step, since nothing may enter their graphs.

A hook that torch.compile meets becomes part of the code (which is compiled anew without it), and a mode of torch's
turns compiled code off without a word.  So a compiled model runs as it is.  In a measured step its inputs, its random
state and the gradient that came to its output are kept; before the weights change, the batch runs once more, forward
and backward and uncompiled, on a replica that shares the weights' memory.  Losses and weights stay bit-identical.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from undertow.probe.living import LIVING
from undertow.probe.nonfinite.replica import replica
from undertow.probe.nonfinite.witness import Pass
from undertow.probe.stepping.loss import running_loss
from undertow.probe.tracing.account import Account
from undertow.probe.tracing.slopes import Slopes
from undertow.probe.tracing.trace import Guard, Trace
from undertow.record import NotObserved

COMPILER = "torch._dynamo.repro.after_dynamo"
"""torch.compile imports it, whatever its backend, when it is called and before anything is compiled."""
WHAT = "compiled model"
BESIDE = (
    "torch.compile: measured on an uncompiled replay of the same batch beside the step, whose outputs differ from the "
    "compiled ones by {deviation:.0e} of their size; where it uses random numbers (dropout), others may be drawn"
)
INSIDE = (
    "it runs inside one compiled graph (model.compile(), or a compiled function that calls it), where nothing can be "
    "seen but its parameters' gradients; torch.compile(model) can be measured"
)


class Shadow:
    """Stands in for the tap where the model is compiled."""

    def __init__(
        self, model: nn.Module, wanted: Callable[[], bool], guard: Guard, note: Callable[[NotObserved], None]
    ) -> None:
        """`wanted` and `guard` as of the tap; `note` is told what can't be seen."""
        self.model, self.wanted, self._guard, self._note = model, wanted, guard, note
        self.unsure = False
        """Whether only the graph of the next loss will tell if the model is called in compiled code."""
        self._eager = self._hidden = False
        self._target: nn.Module | None = None
        self._looks = 0
        self._handles: list[Any] = []
        self._slopes = Slopes()
        self._kept: Kept | None = None

    def arm(self) -> bool:
        """Whether the model is compiled, or may be; where its inputs can be seen, they are from now on."""
        if COMPILER not in sys.modules or self._eager:
            return False
        self._looks += 1
        if self._looks == 1:  # the model may have been compiled just now
            LIVING.forget()
        if self._looks & (self._looks - 1) == 0:  # 1, 2, 4, 8 ...: it walks over all objects
            self._hidden, self._target = self._find()
        if self._target is not None and not self._handles:
            self._handles = [
                self._target.register_forward_pre_hook(Before(self._guard(self.enter)), with_kwargs=True),
                self._target.register_forward_hook(Before(self._guard(self._leave)), with_kwargs=True),
            ]
        return self._hidden

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def armed(self) -> bool:
        return bool(self._handles)

    def begin_step(self) -> None:
        if self._kept is not None:
            self._kept.release()
        self._kept = None

    def _find(self) -> tuple[bool, nn.Module | None]:
        """Whether the model is compiled, or may be, and the module whose call is still Python's own, if one is."""
        if is_wrapper(self.model):
            return True, self.model
        wrapper = LIVING.wrapper_of(self.model)
        if wrapper is not None:
            return True, wrapper
        if compiled_in_place(self.model):
            self._note(NotObserved(WHAT, INSIDE))
            return True, None
        if any(is_wrapper(m) or compiled_in_place(m) for m in self.model.modules()):
            return True, self.model
        self.unsure = LIVING.has_functions()
        return self.unsure, None

    def look(self) -> None:
        """A backward pass ends: whether its graph has compiled parts."""
        loss = running_loss()
        if loss is None or loss.grad_fn is None:
            return
        self.unsure = False
        if any(type(node).__name__.startswith("CompiledFunction") for node in nodes(loss.grad_fn)):
            self._note(NotObserved(WHAT, INSIDE))
        else:
            self._eager, self._hidden = True, False

    # ------------------------------------------------------------ the step

    def enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._kept is None and torch.is_grad_enabled() and not torch.compiler.is_compiling() and self.wanted():
            self._kept = Kept(self.model, args, kwargs)

    def _leave(self, _module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        if self._kept is not None and not self._kept.outputs:
            self._kept.ended(output)

    def measured(self) -> list[Account]:
        """The account of the step's first pass, before the weights change; nothing where there was none."""
        kept = self._kept
        if kept is None or not kept.once.gradients:
            return []
        try:
            account, deviation = kept.replay(self._slopes)
        except Exception as error:  # the user's own code runs here, in a way that it may not expect
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            self._note(NotObserved(WHAT, f"the step could not be run again, uncompiled, on the side: {reason}"))
            return []
        finally:
            self.begin_step()
        self._note(NotObserved(WHAT, BESIDE.format(deviation=deviation)))
        return [account] if account.seal(None) else []


class Kept:
    """A forward pass of a compiled model, with what it takes to run it again."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._twin = replica(model)  # now, since the pass may change the buffers
        devices = {p.device for p in model.parameters()}
        kind = min((d.type for d in devices if d.type != "cpu"), default="cpu")
        autocast = (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None
        states = {torch.device("cpu"): torch.get_rng_state()}
        states |= {d: torch.cuda.get_rng_state(d) for d in devices if d.type == "cuda"}
        self.once = Pass(args, kwargs, states, autocast)
        self._python = random.getstate()
        self._versions = self._input_versions()
        self.outputs: dict[int, Tensor] = {}
        self._handles: list[Any] = []

    def ended(self, output: Any) -> None:
        """Hooks the nodes that the output comes from: a hook on the output itself would be seen by a compiled loss."""
        for leaf, tensor in enumerate(tree_leaves(output)):
            if isinstance(tensor, Tensor) and tensor.grad_fn is not None:
                self.outputs[leaf] = tensor.detach()
                self._handles.append(tensor.grad_fn.register_prehook(Arriving(self.once, leaf, tensor.output_nr)))

    def release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def replay(self, slopes: Slopes) -> tuple[Account, float]:
        """Forward and backward on the replica; the account, and by how much the outputs differ from the compiled."""
        if self._versions != self._input_versions():
            raise RuntimeError("its inputs were changed in place")
        args, kwargs = self.once.inputs()
        with self.once.setting(), self._like_then():
            trace = Trace(self._twin, slopes)
            with trace.watching():
                output = self._twin(*args, **kwargs)
            account = Account(trace, output)
            leaves = tree_leaves(output)
            ends = [leaves[i] for i in self.once.gradients]
            trained = [p for p in self._twin.parameters() if p.requires_grad]
            torch.autograd.grad(ends, trained, list(self.once.gradients.values()), allow_unused=True)
        return account, max(_deviation(leaves[i], compiled) for i, compiled in self.outputs.items())

    @contextmanager
    def _like_then(self) -> Iterator[None]:
        now = random.getstate()
        random.setstate(self._python)
        try:
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            random.setstate(now)

    def _input_versions(self) -> list[int]:
        given = tree_leaves((self.once.args, self.once.kwargs))
        return [t._version for t in given if isinstance(t, Tensor) and not t.is_inference()]


class Before:
    """A hook that compiled code leaves out, and a copied model carries on as one that does nothing."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> None:
        if not torch.compiler.is_compiling():
            self.call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return Before, (_nothing,)


class Arriving:
    """A hook on the node of one output, which keeps the gradient that comes to it."""

    def __init__(self, once: Pass, leaf: int, output: int) -> None:
        self.once, self.leaf, self.output = once, leaf, output

    def __call__(self, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[self.output]
        if gradient is not None:
            self.once.keep(self.leaf, gradient.detach())


def _nothing(*_args: Any) -> None:
    return None


def is_wrapper(value: Any) -> bool:
    """Whether it is what torch.compile(module) gives."""
    return type(value).__name__ == "OptimizedModule" and type(value).__module__ == "torch._dynamo.eval_frame"


def compiled_in_place(module: nn.Module) -> bool:
    """Whether `module.compile()` was called."""
    return getattr(module, "_compiled_call_impl", None) is not None


def nodes(root: Any) -> Iterator[Any]:
    """All nodes of an autograd graph."""
    todo, seen = [root], set[Any]()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            todo += [following for following, _ in node.next_functions]


def _deviation(a: Tensor, b: Tensor) -> float:
    size = torch.linalg.vector_norm(b.double())
    return float(torch.linalg.vector_norm(a.detach().double() - b.double()) / size) if size else 0.0
