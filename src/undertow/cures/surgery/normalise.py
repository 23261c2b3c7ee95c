"""A normalisation put in front of activations, whatever container holds these."""

from __future__ import annotations

from collections import Counter
from pprint import pformat
from typing import ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from undertow.cures.cure import Cure
from undertow.cures.surgery.functional import layers_before
from undertow.cures.surgery.survey import Call, survey
from undertow.cures.training import Training
from undertow.foundation import say
from undertow.theory.matching import Weighted

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)
BY_DIMENSIONS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
Norms = dict[str, tuple[type[nn.Module], int]]
"""By the path of the activation: the kind of normalisation and the number of its features."""


class Normalise(Cure):
    """A normalisation in front of every hidden activation; a subclass may name another `norm` than BatchNorm."""

    changes_network = True
    norm: ClassVar[type[nn.Module] | None] = None
    """One over the last dimension, the features; None is BatchNorm of as many dimensions as the tensor has."""

    def applies(self, training: Training) -> str | None:
        plan, reason = planned_norms(training, self.norm)
        return None if plan else reason

    def change(self, training: Training) -> None:
        insert_norms(training, self.norm)

    def patch(self, training: Training) -> str:
        return norm_patch(training, self.norm)


def planned_norms(training: Training, norm: type[nn.Module] | None) -> tuple[Norms, str]:
    """The normalisations to put in, and why there is none where there is none."""
    found = survey(training)
    hidden = found.hidden()
    layers = [] if hidden else layers_before(training)
    if not hidden and not layers:
        return {}, found.nothing_to_edit
    times = Counter(call.module for call in layers)
    reasons: set[str] = set()
    plan: Norms = {}
    for name, call in (hidden or {call.module: call for call in layers}).items():
        reason = _refused(call, found.times(name) or times[name]) if norm is None else _refused_last(call)
        if reason:
            reasons.add(reason)
        else:
            plan[name] = (BY_DIMENSIONS[len(call.shape)], call.shape[1]) if norm is None else (norm, call.shape[-1])
    return plan, "; ".join(sorted(reasons))


def _refused_last(call: Call) -> str | None:
    """A normalisation over the last dimension needs it to be the features': not after a convolution."""
    if call.producer and issubclass(call.producer, NORMS):
        return say("cures.refused.normalised")
    if len(call.shape) > 2 and (call.producer is None or not issubclass(call.producer, nn.Linear)):
        return say("cures.refused.features_last", module=call.module, shape=call.shape)
    return None


def _refused(call: Call, times: int) -> str | None:
    if call.producer and issubclass(call.producer, NORMS):
        return say("cures.refused.normalised")
    if times > 1:
        return say("cures.refused.shared", module=call.module, times=times)
    if call.shape[0] == 1:
        return say("cures.refused.one_sample")
    # A linear layer leaves the features last, where BatchNorm does not look for them.
    last = call.producer is not None and issubclass(call.producer, nn.Linear) and len(call.shape) > 2
    unclear = len(call.shape) == 3 and (call.producer is None or not issubclass(call.producer, nn.Conv1d))
    if last or unclear or len(call.shape) not in BY_DIMENSIONS:
        return say("cures.refused.features", module=call.module, shape=call.shape)
    return None


def insert_norms(training: Training, norm: type[nn.Module] | None) -> None:
    """Wrap each activation: Sequential(norm, activation) takes its place, so that any container fits.

    Where activations are called as functions it is the layer before each: Sequential(layer, norm).
    """
    like = next(training.model.parameters())
    for name, (kind, features) in planned_norms(training, norm)[0].items():
        old = training.model.get_submodule(name)
        new = kind(features).to(like).train(old.training)
        pair = (old, new) if isinstance(old, Weighted) else (new, old)
        training.model.set_submodule(name, nn.Sequential(*pair))


def placing(training: Training) -> str:
    """The call that a printed line needs to put a new module where the model's weights are."""
    like = next(training.model.parameters())
    return "" if (like.device.type, like.dtype) == ("cpu", torch.float32) else ".to(next(model.parameters()))"


def norm_patch(training: Training, norm: type[nn.Module] | None) -> str:
    """The lines that put the normalisations in."""
    plan, _ = planned_norms(training, norm)
    placed = placing(training)
    lines = ["from torch import nn", "", f"# {say('cures.patch.norm')}"]
    for kind, features in dict.fromkeys(plan.values()):
        names = [name for name, planned in plan.items() if planned == (kind, features)]
        behind = isinstance(training.model.get_submodule(names[0]), Weighted)
        pair = "model.get_submodule(name), norm" if behind else "norm, model.get_submodule(name)"
        lines += [
            f"for name in {pformat(names, width=100, compact=True)}:",
            f"    norm = nn.{kind.__name__}({features}){placed}",
            f"    model.set_submodule(name, nn.Sequential({pair}))",
        ]
    return "\n".join(lines) + "\n"
