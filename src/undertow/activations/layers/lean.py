"""Weighted layers that keep no input which can be computed again, and a model made of them: `ut.lean(model)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from undertow.activations.layers.again import EPS, forgetting, maker, source
from undertow.foundation import InputError, ModelError, say

PLAIN = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
ALIKE = ("transformers.pytorch_utils.Conv1D",)
"""Classes of other libraries that are a product of their input and weights."""


class Seen(NamedTuple):
    """What a lean layer took in its latest recorded forward pass."""

    maker: str
    """The operation that made it: `SiluBackward0`, `swish(beta=1.5)`; empty where the input takes no gradient."""
    size: int
    """Bytes."""
    forgotten: bool
    node: int
    """Which node of the graph made it, so that an input of several layers is counted once."""


class Lean(nn.Module):
    """A weighted layer that keeps nothing of its input y = f(x) where y can be computed again from what is kept.

    Mixed in before the layer's own class, whose forward pass it leaves as it is.
    """

    seen: Seen | None = None

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        def plain(y: Tensor) -> Tensor:
            return super(Lean, self).forward(y, *args, **kwargs)

        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return plain(input)
        # with another padding than zeros a convolution keeps a padded tensor of its own
        origin = source(input) if getattr(self, "padding_mode", "zeros") == "zeros" else None
        # past nn.Module's own bookkeeping, which costs more than the rest
        vars(self)["seen"] = Seen(maker(input), input.nbytes, origin is not None, id(input.grad_fn or self))
        return plain(input) if origin is None else forgetting(plain, input, origin)


class LeanNorm(nn.Module):
    """A LayerNorm that says with its result what the graph doesn't keep, so that the next layer may forget it."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        node: Any = None if torch.compiler.is_compiling() else y.grad_fn
        if node is not None:
            node.metadata[EPS] = self.eps
        return y


@cache
def lean_class(base: type[nn.Module]) -> type[nn.Module]:
    """`base` made lean; its module is base's own, for whoever asks where a layer comes from."""
    kind = LeanNorm if base is nn.LayerNorm else Lean
    own = {"__module__": base.__module__, "base": base, "__reduce_ex__": _reduced}
    made: Any = type(f"Lean{base.__name__}", (kind, base), own)
    return made


def made_lean(layer: nn.Module) -> nn.Module:
    """The layer itself, lean from now on."""
    layer.__class__ = lean_class(type(layer))
    return layer


def _reduced(layer: nn.Module, protocol: Any) -> Any:
    return _rebuilt, (type(layer).base,), vars(layer)  # pyright: ignore[reportAttributeAccessIssue]


def _rebuilt(base: type[nn.Module]) -> nn.Module:
    made = lean_class(base)
    return made.__new__(made)


@dataclass(eq=False)
class LeanAccount:
    """What `ut.lean` did to a model; after a training step also what that spares.  `print` it; `undo()` ends it."""

    changed: dict[str, nn.Module]
    """The lean layers, LayerNorms among them, by their path in the model; each is the object that it was."""
    left: dict[str, str] = field(default_factory=dict)
    """Weighted layers that stay as they were, and why."""

    @property
    def spared(self) -> int:
        """Bytes that the layers' inputs took in the latest forward pass and that nothing keeps for them any more."""
        kept = {seen.node for seen in self._seen().values() if not seen.forgotten}
        return sum({s.node: s.size for s in self._seen().values() if s.node not in kept}.values())

    @property
    def inputs(self) -> int:
        """Bytes of all inputs of the lean layers in the latest forward pass."""
        return sum({seen.node: seen.size for seen in self._seen().values()}.values())

    def undo(self) -> None:
        """Makes every layer what it was."""
        for path, layer in self.changed.items():
            base = getattr(type(layer), "base", None)
            if base is None or type(layer) is not lean_class(base):
                got = f"{path} as a {type(layer).__name__}: something changed its class after lean()"
                raise InputError(got, "the layer as lean() left it", "undo() before the model is wrapped or sharded")
        for layer in self.changed.values():
            layer.__class__ = type(layer).base  # pyright: ignore[reportAttributeAccessIssue]
            vars(layer).pop("seen", None)
        self.changed.clear()

    def _seen(self) -> dict[str, Seen]:
        return {path: seen for path, m in self.changed.items() if isinstance(seen := getattr(m, "seen", None), Seen)}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        seen = self._seen()
        yield say("lean.changed", layers=len(self.changed))
        if seen:
            yield say("lean.spared", spared=self.spared, inputs=self.inputs)
        elif self.changed:
            yield say("lean.unseen")
        for path, one in seen.items():
            key = "forgotten" if one.forgotten else "kept" if one.maker else "no_gradient"
            yield "  " + say(f"lean.{key}", path=path, origin=_readable(one.maker), bytes=one.size)
        for path, reason in self.left.items():
            yield "  " + say("lean.left", path=path, reason=reason)


def lean(model: nn.Module) -> LeanAccount:
    """Make every linear and convolutional layer of a model forget an input that can be computed again.

    The plain layer keeps its input y for the gradient of its weights.  Where y = f(x) and f keeps x for its own
    gradient (silu, gelu, mish, softplus, elu, hardswish, ...; a product of two tensors; an `nn.LayerNorm`), a lean
    layer computes y again in the backward pass: half the memory of an MLP's activations, a third of a convolutional
    net's or a transformer's.  It sees what made its input when it runs, so functional calls count as much as modules.
    Losses and gradients stay the same to the last bit; parameters, `state_dict` and the module objects stay too.

    Nothing is spared, and nothing computed twice, after functions that keep their result (relu, sigmoid, tanh), after
    in-place ones, inside a checkpoint or another packing of saved tensors, and under `torch.compile`, whose own
    partitioner decides (there `ActivatedLinear` has the activation marked for it).

    Parameters
    ----------
    model:
        Changed in place, and back by `undo()` of the result.  Wrap it in DDP or FSDP afterwards.

    Raises
    ------
    ModelError
        Something else than an `nn.Module`.

    References
    ----------
    Chen, Xu, Zhang, Guestrin (2016). Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a {type(model).__name__}", "a torch.nn.Module", "ut.lean(model)")
    account = LeanAccount({})
    for path, module in model.named_modules():
        if isinstance(module, (*PLAIN, nn.LayerNorm, Lean)) or _qualified(type(module)) in ALIKE:
            reason = _why_not(module)
            if reason:
                account.left[path] = reason
            else:
                account.changed[path] = made_lean(module)
    return account


def _why_not(module: nn.Module) -> str | None:
    if isinstance(module, (Lean, LeanNorm)):
        return say("lean.already")
    if type(module) not in (*PLAIN, nn.LayerNorm) and _qualified(type(module)) not in ALIKE:
        return say("lean.own_class", name=_qualified(type(module)))
    return None if getattr(module, "padding_mode", "zeros") == "zeros" else say("lean.padding")


def _readable(maker: str) -> str:
    """`leaky_relu` for `LeakyReluBackward0`."""
    name = re.sub(r"Backward\d*$", "", maker)
    return maker if name == maker else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
