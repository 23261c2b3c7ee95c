"""Recordings as a run would leave them, made without one."""

from __future__ import annotations

import random

import torch

from undertow.record import (
    Entry,
    Ledger,
    ParameterReading,
    Reading,
    Recording,
    Site,
    Slope,
    Snapshot,
    StepReading,
)


class Maker:
    """Readings of a model with so many sites, the same ones for the same seed."""

    def __init__(self, sites: int = 6, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.sites = [
            Site(f"layers.{i}", "linear" if i % 2 == 0 else "relu", 0, "activation" if i % 2 else "weights")
            for i in range(sites)
        ]

    def reading(self) -> Reading:
        size = self.rng.lognormvariate(0, 2)
        return Reading(4096, self.rng.gauss(0, size), size, 4 * size, self.rng.randrange(4096))

    def entry(self, index: int) -> Entry:
        slope = Slope("relu", 0.5, 0.7, 0.5, 1.0, False, 64, self.rng.randrange(64)) if index % 2 else None
        before = self.sites[index - 1] if index else None
        factors = {"activation" if index % 2 else "weights": self.rng.lognormvariate(0, 1)} if index else {}
        return Entry(self.sites[index], before, self.reading(), self.reading(), slope=slope, **factors)

    def snapshot(self, step: int) -> Snapshot:
        entries = tuple(self.entry(i) for i in range(len(self.sites)))
        named = {
            f"{s.module}.{kind}": ParameterReading(self.reading(), self.reading(), self.reading())
            for s in self.sites[::2]
            for kind in ("weight", "bias")
        }
        alive = {s.name: torch.tensor([self.rng.random() < 0.9 for _ in range(64)]) for s in self.sites[1::2]}
        return Snapshot(step, Ledger(entries, step), 32, self.reading(), named, alive)

    def step(self, number: int) -> StepReading:
        return StepReading(number, self.rng.lognormvariate(0, 0.3), 0.1)

    def train(self, recording: Recording, first: int, last: int, every: int = 1) -> None:
        for number in range(first, last):
            recording.add(self.step(number))
            if number % every == 0:
                recording.add(self.snapshot(number))


def same(one: Recording, other: Recording) -> bool:
    """Whether two recordings tell the same; masks compare as tensors, NaN equals NaN."""
    return told(one) == told(other)


def told(recording: Recording) -> str:
    snapshots = [
        (
            s.step,
            s.ledger,
            s.samples,
            s.inputs,
            dict(s.parameters),
            s.stage,
            s.ranks,
            s.attention,
            {name: mask.tolist() for name, mask in sorted(s.alive.items())},
        )
        for s in recording.snapshots
    ]
    return repr(
        (
            snapshots,
            recording.steps,
            recording.losses,
            recording.not_observed,
            recording.overhead,
            recording.optimizers,
            recording.origin,
            dict(recording.tied),
            recording.parameters,
            recording.steps_seen,
            recording.steps_measured,
        )
    )
