"""Whether the labels of our own models hold, measured without any tool."""

from __future__ import annotations

import warnings

import torch
from benchmarks.score.processes import parallel
from benchmarks.score.training import Case, own_cases


def reached(name: str, seed: int, planted: bool) -> float:
    """The metric after the training."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = own_cases()[name].training(seed, planted)
        training.train()
        return training.metric(training.model)


def check(cases: list[Case], seeds: list[int], jobs: int) -> int:
    """Prints what each model reaches; 1 where a label does not hold.

    A healthy model reaches its metric, and so does a faulty one without its plant. With it, it does not, but for
    those that are marked to: a layer that is cut off, and others that learn the task without it.
    """
    work = [(c, s, planted) for c in cases for s in seeds for planted in ([True] if c.healthy else [True, False])]
    done = parallel(reached, [(c.name, s, planted) for c, s, planted in work], jobs)
    wrong = 0
    for (c, s, planted), metric in zip(work, done, strict=True):
        sick = planted and not c.healthy
        holds = (metric < c.good or c.stays_good) if sick else metric >= c.good
        wrong += not holds
        state = "healthy" if c.healthy else "planted" if planted else "removed"
        print(f"{'ok ' if holds else 'NOT'} {c.name:30s} {s} {state}  metric {metric:7.3f}  good {c.good}", flush=True)
    print(f"{wrong} of {len(work)} labels do not hold")
    return min(wrong, 1)
