"""One run under one tool, and what it counts for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from benchmarks.score.training import Case, Training


class Said(NamedTuple):
    """A verdict above a note."""

    kind: str
    severity: str = ""
    cause: str = ""
    where: str = ""
    step: int = 0

    def __str__(self) -> str:
        place = f" at `{self.where}`" if self.where else ""
        return f"{self.severity} {self.kind} ({self.cause}){place} from step {self.step}" if self.cause else self.kind


Tool = Callable[[Training], list[Said]]
"""Runs the training under its eyes, and says what is wrong: nothing of a level that the tool itself calls harmless."""


@dataclass(frozen=True)
class Outcome:
    case: str
    source: str
    seed: int
    expect: tuple[tuple[str, ...], ...]
    cause: str
    where: str
    said: tuple[Said, ...]
    error: str
    seconds: float
    metric: float

    @property
    def healthy(self) -> bool:
        return not self.expect

    @property
    def found(self) -> bool:
        """Whether every set of `expect` is hit."""
        return all(any(s.kind in names for s in self.said) for names in self.expect)

    @property
    def false_alarm(self) -> bool:
        return self.healthy and bool(self.said)

    @property
    def named(self) -> list[Said]:
        """The verdicts of an expected kind."""
        return [s for s in self.said if any(s.kind in names for names in self.expect)]

    @property
    def right_cause(self) -> bool:
        return self.found and any(s.cause in self.cause.split("|") for s in self.named)

    @property
    def right_place(self) -> bool:
        return self.found and any(_module(s.where) == self.where for s in self.named)


def _module(where: str) -> str:
    """`conv1` of `conv1 (conv2d)` and of `conv1#0`."""
    return where.partition(" ")[0].partition("#")[0]


def judged(case: Case, seed: int, tool: Tool, change: Callable[[Training], Training] | None = None) -> Outcome:
    """Builds the case, trains it under the tool, and measures what was reached."""
    torch.set_num_threads(1)
    start, said, error, metric = time.perf_counter(), list[Said](), "", float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cases' own making: overflow, a scheduler before its optimizer
        training = case.training(seed)
        training = change(training) if change else training
        try:
            said = tool(training)
            metric = training.metric(training.model)
        except Exception as failed:  # a tool that breaks down has said nothing, and the page says so
            error = f"{type(failed).__name__}: {failed}"[:300]
    return Outcome(
        case.name,
        case.source,
        seed,
        tuple(tuple(sorted(names)) for names in case.expect),
        case.cause,
        case.where,
        tuple(said),
        error,
        time.perf_counter() - start,
        metric,
    )
