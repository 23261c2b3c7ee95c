"""Copies of a training whose model and optimizer belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from undertow.cures.schedule import hand_over
from undertow.cures.training import Training, plain
from undertow.foundation import InputError, ModelError


def copied(training: Training) -> Training:
    """The same training on a copied model, with an optimizer (and its state) over the copied parameters.

    The batches are shared, since nothing writes to them.

    Raises
    ------
    ModelError
        A model that cannot be copied: it holds a tensor that is the result of a computation.
    InputError
        A loss or metric that holds the original model and so would never see the copy.
    """
    _refuse_captured_model(training)
    try:
        # One call, so that the optimizer, and a loss that is a method of the model, refer to the copied parameters.
        given = training.optimizer, training.loss, training.metric, training.clip, training.scheduler
        model, optimizer, loss, metric, clip, scheduler = deepcopy((plain(training.model), *given))
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"a {type(training.model).__name__} that cannot be copied ({error})",
            "one that copy.deepcopy(model) copies",
            "keep no computed tensor as an attribute of the model",
        ) from error
    hand_over(scheduler, optimizer)
    return replace(training, model=model, optimizer=optimizer, loss=loss, metric=metric, clip=clip, scheduler=scheduler)


GIVEN = {"loss": "model, batch", "metric": "model", "clip": "parameters"}
"""What each function of a training is given."""


def _refuse_captured_model(training: Training) -> None:
    for name, given in GIVEN.items():
        models = (held for held in _held(getattr(training, name)) if isinstance(held, nn.Module))
        if any(plain(held) is plain(training.model) for held in models):
            raise InputError(
                f"a {name} that takes the model of make(seed) from outside",
                f"one that works with the {given.replace(', ', ' and ')} it is given, since cures are tried on copies",
                f"def {name}({given}): ...",
            )


def _held(function: Any) -> Iterator[Any]:
    """What a function refers to in the functions around it and among the globals."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that nothing has filled yet
            continue
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    yield from (getattr(function, "__globals__", {}).get(name) for name in names)


def reconcile(optimizer: Optimizer, model: nn.Module, before: Mapping[str, nn.Parameter]) -> None:
    """Let the optimizer hold the parameters that came into the model and none that left it.

    A new parameter goes to the group of the one in whose place it came, by its path; else of the nearest parameter
    before it in the model (else of the nearest after it, else the first group), with that group's hyper-parameters.
    """
    old, now = {id(p) for p in before.values()}, list(model.parameters())
    left = old - {id(p) for p in now}
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    places = {id(p): held.get(id(before[path])) for path, p in model.named_parameters() if path in before}
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in left]
    for parameter in [p for p in optimizer.state if id(p) in left]:
        del optimizer.state[parameter]
    home = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for index, parameter in enumerate(now):
        if id(parameter) not in old:
            around = [*reversed(now[:index]), *now[index + 1 :]]
            near = next((home[id(p)] for p in around if id(p) in home), optimizer.param_groups[0])
            group = places.get(id(parameter)) or near
            group["params"].append(parameter)
            home[id(parameter)] = group
