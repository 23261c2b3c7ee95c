"""What a run file costs: bytes a reading, microseconds a step in the training's thread, twelve hours in fast motion.

`python benchmarks/bench_runfile.py` prints a table; `--sites`, `--steps` and `--deep` change the run that is imitated:
a step each 0.1 s for twelve hours, every two-hundredth of them measured whole.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from undertow.record import (
    Entry,
    Event,
    Ledger,
    ParameterReading,
    Reading,
    Recording,
    Site,
    Slope,
    Snapshot,
    StepReading,
)
from undertow.record.runfile import RunFile, read
from undertow.record.thinning import MOST_READINGS, MOST_SNAPSHOTS

UNITS = 256
GIGABYTE = 1e9


class Model:
    """Readings of a model with so many sites, half of them activations, two parameters for each of the others."""

    def __init__(self, sites: int) -> None:
        self.rng = random.Random(0)
        self.sites = [
            Site(f"blocks.{i // 8}.layers.{i % 8}", "relu", 0, "activation")
            if i % 2
            else Site(f"blocks.{i // 8}.layers.{i % 8}", "linear", 0, "weights")
            for i in range(sites)
        ]

    def reading(self) -> Reading:
        size = self.rng.lognormvariate(0, 2)
        return Reading(1 << 16, self.rng.gauss(0, size), size, 4 * size, self.rng.randrange(1 << 15))

    def step(self, number: int) -> StepReading:
        return StepReading(number, self.rng.lognormvariate(0, 0.3), 1e-3, unclipped_norm=self.rng.lognormvariate(0, 1))

    def snapshot(self, step: int) -> Snapshot:
        entries = [self._entry(i, site) for i, site in enumerate(self.sites)]
        parameters = {
            f"{s.module}.{kind}": ParameterReading(self.reading(), self.reading(), self.reading())
            for s in self.sites[::2]
            for kind in ("weight", "bias")
        }
        alive = {s.name: torch.rand(UNITS) < 0.99 for s in self.sites[1::2]}
        return Snapshot(step, Ledger(tuple(entries), step), 128, self.reading(), parameters, alive)

    def _entry(self, index: int, site: Site) -> Entry:
        previous = self.sites[index - 1] if index else None
        slope = Slope("relu", 0.5, self.rng.random(), self.rng.random(), 1.0, False, UNITS, 3) if index % 2 else None
        return Entry(site, previous, self.reading(), self.reading(), self.rng.random(), self.rng.random(), slope=slope)


def size_of(folder: Path, fill: Callable[[Recording], None]) -> int:
    """Bytes of the finished file."""
    recording = Recording()
    with closing(RunFile(folder / "size.undertow")) as file:
        recording.sinks.append(file)
        fill(recording)
    size = file.path.stat().st_size
    file.path.unlink()
    return size


def bytes_each(folder: Path, make: Callable[[int], Event], few: int, many: int) -> float:
    """What one more takes."""

    def fill(recording: Recording, count: int) -> None:
        for number in range(count):
            recording.add(make(number))

    sizes = [size_of(folder, partial(fill, count=count)) for count in (few, many)]
    return (sizes[1] - sizes[0]) / (many - few)


def microseconds_an_add(folder: Path, model: Model) -> tuple[float, float]:
    """Median and 99.9th percentile of what the training's thread pays for a step, while the file is written."""
    recording, readings, costs = Recording(), [model.step(i) for i in range(50_000)], []
    with closing(RunFile(folder / "add.undertow")) as file:
        recording.sinks.append(file)
        for reading in readings:
            begin = time.perf_counter()
            recording.add(reading)
            costs.append(time.perf_counter() - begin)
            if len(costs) % 5_000 == 0:
                time.sleep(0.3)  # so that flushes fall among the steps
    costs.sort()
    return costs[len(costs) // 2] * 1e6, costs[len(costs) * 999 // 1000] * 1e6


def kilobytes_in_memory(model: Model) -> float:
    """Of one snapshot."""
    tracemalloc.start()
    held = [model.snapshot(i) for i in range(3)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(held) / 1e3


def fast_forward(folder: Path, model: Model, steps: int, deep: int) -> tuple[int, Recording, float, float]:
    """Twelve hours as fast as the thread writes them: the largest size with its log, the recording, seconds of the
    thread for a measured step, and seconds to read it all back."""
    recording, every, largest = Recording(), max(steps // deep, 1), 0
    patterns = [model.snapshot(0) for _ in range(8)]
    with closing(RunFile(folder / "long.undertow")) as file:
        recording.sinks.append(file)
        begin = time.perf_counter()
        for number in range(steps):
            recording.add(model.step(number))
            if number % every == 0:
                pattern = patterns[number // every % len(patterns)]
                ledger = Ledger(tuple(pattern.ledger), number)
                recording.add(replace(pattern, step=number, ledger=ledger))
                if number // every % 16 == 0:  # a flush for each sixteen, as the file would be written in real time
                    with file._busy:
                        pass
                    time.sleep(0.02)
                    largest = max(largest, sum(p.stat().st_size for p in folder.glob("long.undertow*")))
        seconds = (time.perf_counter() - begin) / deep
    assert file.failure is None, file.failure
    largest = max(largest, file.path.stat().st_size)
    begin = time.perf_counter()
    saved = read(file.path)
    took = time.perf_counter() - begin
    assert len(saved.recordings[0].snapshots) == len(recording.snapshots)
    return largest, recording, seconds, took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sites", type=int, default=1000)
    options.add_argument("--steps", type=int, default=12 * 3600 * 10)
    options.add_argument("--deep", type=int, default=2160)
    asked = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), Model(asked.sites)
        step, snapshot = bytes_each(folder, model.step, 0, 40_000), bytes_each(folder, model.snapshot, 2, 12)
        median, worst = microseconds_an_add(folder, model)
        largest, recording, seconds, took = fast_forward(folder, model, asked.steps, asked.deep)
        bound = 2 * (MOST_READINGS * step + (MOST_SNAPSHOTS + 1) * snapshot)  # the log may hold all of it once more
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {asked.sites} sites")
        print(f"a step's reading          {step:10.0f} bytes in the file")
        memory = kilobytes_in_memory(model)
        print(f"a measured step           {snapshot / 1e3:10.0f} kB in the file, {memory:.0f} kB in memory")
        print(f"adding a step's reading   {median:10.2f} µs (median), {worst:.1f} µs (99.9 %) in the training's thread")
        print(f"{asked.steps} steps, {asked.deep} measured: {largest / 1e6:.0f} MB at most, log included;")
        print(f"    kept {len(recording.steps)} readings and {len(recording.snapshots)} measured steps")
        print(f"    {seconds * 1e3:.1f} ms a measured step, written as fast as it goes; {took:.1f} s to read all back")
        print(
            f"no run of this model exceeds {bound / 1e6:.0f} MB ({math.ceil(bound / GIGABYTE * 100)} % of a gigabyte)"
        )


if __name__ == "__main__":
    main()
