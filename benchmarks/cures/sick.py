"""The runs on which a cure is searched, each as `ut.cure` wants it, and how good they can get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.score.sources import all_cases
from benchmarks.score.training import Case

import undertow as ut

FRESH = 11
"""The first of the seeds that no search has seen: those of a search are 0, 1, 2, the next ones for its race, and two
more at most.  As many are taken as the proof had."""


@dataclass(frozen=True)
class Sick:
    """A run with a planted fault, or a healthy one."""

    name: str
    source: str
    healthy: bool
    make: Callable[[int], ut.Training]
    best: float | None
    """The mean metric of the best known cure; None where there is no list of them."""
    good: float
    """The metric that a sound training reaches."""
    known: str = ""
    """The best known cure in words."""
    epochs: int | None = None
    """The length of the run where the only known cures need a longer one."""


def sick(folder: Path) -> dict[str, Sick]:
    """Every public run and every one of ours that is trained by the ordinary loop, by name."""
    known = json.loads((folder / "cures.json").read_text())
    found = (_run(case, folder, known.get(case.name)) for case in all_cases(folder).values())
    return {run.name: run for run in found if run}


def _run(case: Case, folder: Path, known: dict[str, Any] | None) -> Sick | None:
    if case.source == "matrix":
        return None
    if case.source == "own":
        first = case.training(0)
        if first.loop or first.accumulate > 1 or first.autocast or first.after or not first.one_optimizer:
            return None
        return Sick(case.name, "own", case.healthy, lambda seed: _own(case, seed), None, case.good)
    best = max(known["works"], key=lambda entry: sum(entry["after"]), default=None) if known else None
    epochs = _epochs(best) if best and "before" in best else None
    return Sick(
        case.name,
        "public",
        case.healthy,
        lambda seed: _public(folder, case.name, seed, epochs),
        sum(best["after"]) / len(best["after"]) if best else None,
        known["target"] if known else 0.0,
        best["cure"] if best else "",
        epochs,
    )


def _epochs(entry: dict[str, Any]) -> int:
    """Of a cure that needs a longer run than the case has; the control then runs as long."""
    said = re.search(r"(\d+) epochs", entry["cure"])
    assert said, entry
    return int(said[1])


def _own(case: Case, seed: int) -> ut.Training:
    made = case.training(seed)
    return ut.Training(made.model, made.optimizer, _by_model(made.loss), made.batches, made.metric, clip=made.clip)


def _public(folder: Path, name: str, seed: int, epochs: int | None) -> ut.Training:
    from cases import build  # pyright: ignore[reportMissingImports]

    setup = build(name, seed, **({"epochs": epochs} if epochs else {}))
    batches = setup.batches()
    return ut.Training(
        setup.model, setup.optimizer, _by_model(setup.loss_fn), batches, metric=setup.metric, clip=setup.clip
    )


def _by_model(loss: Callable[[Any, Any], torch.Tensor]) -> Callable[[Any, Any], torch.Tensor]:
    """With the parameter names by which `Training` tells `loss(model, batch)` from `loss(output, target)`."""

    def of(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        return loss(model, batch)

    return of
