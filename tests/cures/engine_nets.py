"""A training for the tests of files and backends, in a module that other processes can import."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import torch
from cure_nets import training
from torch import nn

from undertow.cures import Cure, Training, Verdicts, chosen
from undertow.foundation import Reference


def make(seed: int) -> Training:
    """Deep and sigmoid, so that nothing reaches the first layer; with dropout, which draws at every step."""
    layers = [m for i in range(6) for m in (nn.Linear(8 if i else 6, 8), nn.Sigmoid())]
    return training(nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(8, 3)), lr=0.05, batches=36)


def state(verdicts: Verdicts) -> str:
    """Everything of a result that is compared, NaN included."""
    parts = [(v.cure, v.outcome, v.befores, v.afters, v.interval, v.curves, v.remaining, v.patch) for v in verdicts]
    lanes = [(lane.cure.label if lane.cure else "", lane.metrics, lane.reason) for lane in verdicts.raced]
    return repr((parts, verdicts.control, verdicts.control_curves, lanes, verdicts.control_findings))


@dataclass(frozen=True)
class Change(Cure):
    """Changes nothing; the tests' own add to it."""

    name = "change"
    reference = Reference("nobody", 2000, "nothing")
    treats = ()

    def applies(self, training: Training) -> str | None:
        return None

    def change(self, training: Training) -> None: ...

    def patch(self, training: Training) -> str:
        return "# nothing\n"


class Killed(Change):
    """Kills the process that tries it."""

    def change(self, training: Training) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Hungry(Change):
    """Has no memory."""

    name = "hungry"

    def change(self, training: Training) -> None:
        raise torch.OutOfMemoryError("no memory")


CURES: list[Any] = [*chosen(["relu", "adam"])]
