"""What the loop of a trial costs beside a plain loop, and what two workers gain.

python benchmarks/bench_trials.py            both
python benchmarks/bench_trials.py --loop     the loop alone (half a minute)
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter

import torch
from torch import nn

import undertow as ut
from undertow.cures import Training, run

ROUNDS = 15
WIDTHS = (16, 64, 256)


def make(seed: int, width: int = 64, steps: int = 300) -> Training:
    """A deep sigmoid network, stuck, on random numbers with a rule."""
    layers = [m for i in range(10) for m in (nn.Linear(width if i else 64, width), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    x = torch.randn(steps, 64, 64, generator=torch.Generator().manual_seed(1))
    batches = list(zip(x, x[..., :10].argmax(-1), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loss = nn.functional.cross_entropy
    return Training(model, optimizer, loss, batches, metric=lambda m: -float(loss(m(x[0]), x[0, :, :10].argmax(-1))))


def plain(given: Training) -> list[float]:
    losses = []
    for x, y in given.batches:  # pyright: ignore[reportGeneralTypeIssues]
        given.optimizer.zero_grad()
        loss = given.loss(given.model(x), y)
        loss.backward()
        given.optimizer.step()
        losses.append(loss.item())
    return losses


def loop(width: int) -> tuple[float, float]:
    """The cost of a trial in per cent of the plain loop's time: undiagnosed and diagnosed, medians of paired ratios."""
    ratios: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        times = []
        for way in (plain, lambda t: run(t, diagnose=False), lambda t: run(t, diagnose=True)):
            torch.manual_seed(0)
            given = make(0, width)
            began = perf_counter()
            way(given)
            times.append(perf_counter() - began)
        for column, taken in zip(ratios, times[1:], strict=True):
            column.append(taken / times[0])
    unwatched, watched = (100 * (median(column) - 1) for column in ratios)
    return unwatched, watched


def gain(workers: int) -> tuple[float, float]:
    """Seconds of a whole search in this process, and in workers with their start."""
    took = []
    for how in ({}, {"backend": "processes", "workers": workers}):
        began = perf_counter()
        ut.cure(make, progress=False, steps=300, **how)
        took.append(perf_counter() - began)
    return took[0], took[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", action="store_true", help="without the workers")
    torch.set_num_threads(1)
    for width in WIDTHS:
        unwatched, watched = loop(width)
        print(f"width {width:4}: trial {unwatched:+5.1f} %, diagnosed {watched:+5.1f} % of the plain loop", flush=True)
    if not parser.parse_args().loop:
        serial, parallel = gain(2)
        print(f"whole search: {serial:.1f} s in this process, {parallel:.1f} s in 2 workers: x{serial / parallel:.2f}")


if __name__ == "__main__":
    main()
