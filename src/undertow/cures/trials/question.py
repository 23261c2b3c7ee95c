"""What a search asks, so that a file of results is taken up for the same question only."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from importlib.metadata import version
from typing import Any

import torch

from undertow.cures.training import Training
from undertow.cures.trials.task import Setting
from undertow.cures.trials.trial import Trial

SAME = 1e-3
"""Two first losses that differ by less are of one training: on a GPU the same step may differ in its last bits."""


def question(setting: Setting, seed: int, first: Training, tried: Trial) -> dict[str, str]:
    """Everything that the result of a trial follows from, besides the change and the seed.

    `first` is the training of this seed and `tried` its first steps: the code of `make` alone does not tell what it
    calls.  Seeds, cures and budget may differ: a search may be taken up with more of them.
    """
    return {
        "make": hashlib.sha256(_source(setting.make).encode()).hexdigest(),
        "steps": str(setting.steps),
        "diagnose": str(setting.diagnose),
        "torch": torch.__version__,
        "undertow": version("undertow"),
        "model": _described(first),
        f"first losses of seed {seed}": json.dumps([*tried.losses, tried.metric]),
    }


def different(asked: dict[str, str], saved: dict[str, str]) -> list[str]:
    """Names of what is known of both and differs."""
    return [name for name, value in asked.items() if name in saved and not _same(value, saved[name])]


def _source(make: Any) -> str:
    try:
        return inspect.getsource(make)
    except (OSError, TypeError):  # typed at a prompt, or an object with __call__: its behaviour is compared alone
        return ""


def _described(training: Training) -> str:
    shapes = [(name, tuple(p.shape), str(p.dtype)) for name, p in training.model.named_parameters()]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in training.optimizer.param_groups]
    kinds = type(training.model).__name__, type(training.optimizer).__name__, type(training.scheduler).__name__
    clip = training.clip if isinstance(training.clip, int | float) else training.clip is not None
    return hashlib.sha256(repr((kinds, shapes, groups, clip)).encode()).hexdigest()


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    if not one.startswith("["):
        return False
    pairs = list(zip(json.loads(one), json.loads(other), strict=False))
    return len(json.loads(one)) == len(json.loads(other)) and all(_near(a, b) for a, b in pairs)


def _near(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=SAME, abs_tol=1e-12)
