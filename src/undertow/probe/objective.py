"""How a user's loss is called: on the model's output, or on the model itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from undertow.foundation import BatchError, LossError, ModelError

Objective = Callable[[nn.Module, Any], Tensor]
MODEL_NAMES = {"model", "net", "network", "module", "m"}
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)


def objective(loss: Callable[..., Tensor]) -> Objective:
    """The loss as a function of (model, batch).

    `loss(output, target)` for a batch `(inputs, target)`; `loss(output, batch)` for a dict, which the model takes as
    keywords; `loss(output)` for a single tensor; and `loss(model, batch)` where the first parameter of `loss` is
    called model, net, network, module or m, or is annotated as an nn.Module.

    Raises
    ------
    BatchError
        The model refuses the batch.
    LossError
        The loss refuses the model's output, or is no scalar tensor with a gradient.
    """

    with_model = _wants_model(loss)

    def call(model: nn.Module, batch: Any) -> Tensor:
        value = _try_loss(loss, model, batch) if with_model else _try_loss(loss, *_output_and_target(model, batch))
        return _scalar(value)

    return call


def check_trainable(model: nn.Module) -> None:
    """Raises ModelError for a model in which nothing can be trained."""
    if not isinstance(model, nn.Module):
        raise ModelError(_a(type(model).__name__), "an nn.Module", "pass the model itself, not its output or its class")
    parameters = list(model.parameters())
    if not parameters:
        raise ModelError(
            f"{_a(type(model).__name__)} without parameters",
            "a model with weights to train",
            "register the layers as attributes or in nn.ModuleList, not in a plain list",
        )
    if not any(p.requires_grad for p in parameters):
        raise ModelError(
            f"{_a(type(model).__name__)} with all {len(parameters)} parameters frozen",
            "at least one with requires_grad",
            "model.requires_grad_(True), or thaw the layers that you train",
        )


def _wants_model(loss: Callable[..., Tensor]) -> bool:
    if isinstance(loss, nn.Module):
        return False
    try:
        parameters = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature, as torch's own losses are
        return False
    if not parameters:
        return False
    first = parameters[0]
    return first.name in MODEL_NAMES or first.annotation in (nn.Module, "nn.Module", "torch.nn.Module", "Module")


def _output_and_target(model: nn.Module, batch: Any) -> tuple[Any, ...]:
    if isinstance(batch, Mapping):
        return _forward(model, batch), batch
    if isinstance(batch, Tensor):
        return (_forward(model, batch),)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return _forward(model, batch[0]), batch[1]
    raise BatchError(
        f"a batch of type {type(batch).__name__}"
        + (f" with {len(batch)} parts" if isinstance(batch, tuple | list) else ""),
        "(inputs, target), a dict of keywords, or one tensor",
        "(x, y), with x a tuple where the model takes several inputs, or a loss(model, batch) of your own",
    )


def _forward(model: nn.Module, inputs: Any) -> Any:
    try:
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        raise BatchError(
            f"{describe(inputs)}, which the model refuses ({_first_line(error)})",
            "inputs that model(inputs) takes",
            "x.float() for integer data; compare the shape with the model's first layer",
        ) from error


def _try_loss(loss: Callable[..., Tensor], *arguments: Any) -> Any:
    try:
        return loss(*arguments)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        if isinstance(error, BatchError):
            raise
        raise LossError(
            f"{', '.join(map(describe, arguments))}, which the loss refuses ({_first_line(error)})",
            "loss(output, target), or loss(model, batch) with a first parameter called `model`",
            "call the loss by hand on one batch; classes are int64, regression targets floats of the output's shape",
        ) from error


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise LossError(
            f"a loss of type {type(value).__name__}", "a scalar tensor", "return the tensor, not its .item()"
        )
    if value.numel() != 1:
        raise LossError(f"a loss of shape {tuple(value.shape)}", "a scalar", "loss.mean(), or reduction='mean'")
    if not value.requires_grad:
        raise LossError(
            "a loss without a gradient",
            "one computed from the model's output under autograd",
            "look for .detach(), .item(), .data or torch.no_grad() between the model and the loss",
        )
    return value


def describe(thing: Any) -> str:
    """A short description for an error: kind, dtype and shape."""
    if isinstance(thing, Tensor):
        return f"{_a(str(thing.dtype).removeprefix('torch.'))} tensor of shape {tuple(thing.shape)}"
    if isinstance(thing, tuple | list):
        return f"{_a(type(thing).__name__)} of {', '.join(map(describe, thing))}"
    if isinstance(thing, Mapping):
        return f"a dict with {', '.join(map(str, thing))}"
    return _a(type(thing).__name__)


def _a(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeio' else 'a'} {word}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
