"""Batch normalisation put in front of activations, whatever container holds these."""

from __future__ import annotations

from pprint import pformat

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from undertow.cures.survey import Call, survey
from undertow.cures.training import Training
from undertow.foundation import say

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)
BY_DIMENSIONS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
Norms = dict[str, tuple[type[nn.Module], int]]
"""By the path of the activation: the kind of normalisation and the number of its features."""


def planned_norms(training: Training) -> tuple[Norms, str]:
    """The normalisations to put in, and why there is none where there is none."""
    found = survey(training)
    hidden = found.hidden()
    if not hidden:
        return {}, found.nothing_to_edit
    reasons: set[str] = set()
    plan: Norms = {}
    for name, call in hidden.items():
        if reason := _refused(call, found.times(name)):
            reasons.add(reason)
        else:
            plan[name] = (BY_DIMENSIONS[len(call.shape)], call.shape[1])
    return plan, "; ".join(sorted(reasons))


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


def norm_refused(training: Training) -> str | None:
    plan, reason = planned_norms(training)
    return None if plan else reason


def insert_norms(training: Training) -> None:
    """Wrap each activation: Sequential(BatchNorm, activation) takes its place, so that any container fits."""
    like = next(training.model.parameters())
    for name, (kind, features) in planned_norms(training)[0].items():
        old = training.model.get_submodule(name)
        norm = kind(features).to(like).train(old.training)
        training.model.set_submodule(name, nn.Sequential(norm, old))


def norm_patch(training: Training) -> str:
    """The lines that put the normalisations in."""
    plan, _ = planned_norms(training)
    like = next(training.model.parameters())
    placed = ".to(next(model.parameters()))" if (like.device.type, like.dtype) != ("cpu", torch.float32) else ""
    lines = ["from torch import nn", "", f"# {say('cures.patch.norm')}"]
    for kind, features in dict.fromkeys(plan.values()):
        names = [name for name, planned in plan.items() if planned == (kind, features)]
        lines += [
            f"for name in {pformat(names, width=100, compact=True)}:",
            f"    norm = nn.{kind.__name__}({features}){placed}",
            "    model.set_submodule(name, nn.Sequential(norm, model.get_submodule(name)))",
        ]
    return "\n".join(lines) + "\n"
