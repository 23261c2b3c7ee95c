"""What watching costs, beside other ways to watch: `make overhead` writes docs/overhead.md.

Each way trains a model of its own from the same start.  They take turns, in a new order each round, a few steps at a
time; the overhead of a round is the time of its steps over those of the plain loop in the same round.  Told are the
mean over the rounds without the lowest and the highest tenth, and its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim import SGD, Optimizer
from watched_models import WATCHED, Watched
from watchers import WATCHERS, Watcher

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "overhead.md", ROOT / "benchmarks" / "results"
WARM_UP = 8
"""Steps before the timing; the first five are measured whole whatever the budget, and are told apart."""
TRIMMED = 0.1
TARGETS = {"mlp": (6, 2), "cnn": (2.5, 2), "transformer": (1.5, 2), "deep": (None, None)}
"""Per cent, of every step measured whole and of the default budget (issue 4)."""
DEEP_TARGET = 10
"""µs a leaf."""


class Turn:
    """One way to watch, with the model that it watches."""

    def __init__(self, watched: Watched, watcher: Watcher) -> None:
        torch.manual_seed(0)
        self.batch = watched.batch()
        self.model = watched.make()
        self.optimizer: Optimizer = SGD(self.model.parameters(), 1e-3)
        self.watcher, self.seconds = watcher, 0.0
        self._since: float | None = None
        watcher.attach(self.model, self.optimizer, self.clock)

    def clock(self) -> float:
        """Seconds of this turn alone: the others' are no time in which to be allowed more."""
        return self.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    def steps(self, count: int) -> float:
        """The seconds that so many steps take."""
        before, self._since = self.seconds, time.perf_counter()
        for _ in range(count):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.batch[0]), self.batch[1]).backward()
            self.watcher.before_step()
            self.optimizer.step()
            self.watcher.after_step()
        self.seconds += time.perf_counter() - self._since
        self._since = None
        return self.seconds - before


def measure(key: str, rounds: int | None) -> dict[str, Any]:
    """Per way to watch, its overheads in per cent and the plain step's time."""
    watched = WATCHED[key]
    turns = {name: Turn(watched, make()) for name, make in WATCHERS.items()}
    first = {name: turn.steps(WARM_UP) for name, turn in turns.items()}
    times: dict[str, list[float]] = {name: [] for name in turns}
    order = list(turns)
    for _ in range(rounds or watched.rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(turns[name].steps(watched.steps) / watched.steps)
    plain = times.pop("plain")
    found: dict[str, Any] = {
        "plain_ms": 1e3 * statistics.median(plain),
        "warm_up_ms": {name: 1e3 * seconds for name, seconds in first.items()},
        "overhead": {name: percent(taken, plain) for name, taken in times.items()},
        "told": {name: turns[name].watcher.told() for name in turns},
        "leaves": sum(1 for m in turns["plain"].model.modules() if not any(True for _ in m.children())),
    }
    for turn in turns.values():
        turn.watcher.close()
    return found


def percent(taken: list[float], plain: list[float]) -> tuple[float, float]:
    """Mean of the rounds' ratios without the extremes, less one, and its standard error."""
    ratios = [t / p for t, p in zip(taken, plain, strict=True)]
    cut = int(TRIMMED * len(ratios))
    kept = sorted(ratios)[cut : len(ratios) - cut]
    error = statistics.stdev(kept) / math.sqrt(len(kept)) if len(kept) > 1 else math.nan
    return 100 * (statistics.fmean(kept) - 1), 100 * error


def here(threads: int, rounds: int | None, models: list[str]) -> dict[str, Any]:
    torch.set_num_threads(threads)
    random.seed(0)
    return {key: measure(key, rounds) for key in models}


def table(found: dict[str, Any]) -> str:
    keys = list(found)
    titles = [f"{WATCHED[k].title} ({found[k]['plain_ms']:.1f} ms)" for k in keys]
    lines = ["| overhead, % | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(keys)]
    names = list(found[keys[0]]["overhead"])
    for name in names:
        cells = ["{:.1f} ± {:.1f}".format(*found[k]["overhead"][name]) for k in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(found: dict[str, Any]) -> str:
    """Each target, and what was measured."""
    lines = []
    for key, result in found.items():
        overhead, title = result["overhead"], WATCHED[key].title
        whole, default = overhead["undertow, every step"], overhead["undertow, budget 2 %"]
        a_leaf = whole[0] / 100 * result["plain_ms"] * 1e3 / result["leaves"]
        told = result["told"]["undertow, budget 2 %"]
        lines.append(
            f"- {title}: every step {a_leaf:.1f} µs a leaf"
            + (f" (wanted: ≤ {DEEP_TARGET})" if key == "deep" else f", {whole[0]:.1f} % (wanted: ≤ {TARGETS[key][0]})")
            + ("" if key == "deep" else f"; with the default budget {default[0]:.1f} % (wanted: ≤ {TARGETS[key][1]})")
            + f"; it says itself: {told}."
        )
        for name in ("naive hooks", "wandb.watch", "TensorBoard histograms"):
            if name in overhead and default[0] > 0:
                lines.append(f"  - {name}: {overhead[name][0] / default[0]:.0f} × what the default budget costs")
    return "\n".join(lines)


def page(results: dict[str, Any]) -> str:
    parts = [
        "# What watching costs",
        "`make overhead` measures this page's numbers, all in one run, the ways to watch taking turns; "
        "the ± is the standard error.  The dated file in `benchmarks/results` has every number.",
        f"{results['date']}, {results['machine']}, torch {results['torch']}.",
        "- *every step*: `watch(budget=None)`: statistics of every operation's output and of its gradient, f′ of every "
        "activation, weight, gradient and update of every parameter, the ledger's factors.\n"
        "- *budget 2 %*: the default, after its first five steps.\n"
        "- *naive hooks*: mean, standard deviation and share of zeros of every leaf module's output, norm of its "
        "gradient and of each parameter's, each by `.item()`.\n"
        "- *wandb.watch*: `log='all', log_freq=1`, offline, with one `wandb.log` a step; its own process is not "
        "counted.\n"
        "- *TensorBoard histograms*: `add_histogram` of each parameter and gradient, each step.",
    ]
    for threads, found in results["threads"].items():
        parts += [f"## {threads} thread{'s' if int(threads) > 1 else ''}", table(found), verdicts(found)]
    return "\n\n".join(parts) + "\n"


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="measure with so many threads and print JSON")
    parser.add_argument("--rounds", type=int, help="fewer than a model's own, to try it out: writes no page")
    parser.add_argument("--models", nargs="+", choices=list(WATCHED), default=list(WATCHED))
    arguments = parser.parse_args()
    if arguments.threads:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(json.dumps(here(arguments.threads, arguments.rounds, arguments.models)))
        return
    found = {}
    for threads in (1, 2):
        command = [sys.executable, __file__, "--threads", str(threads), "--models", *arguments.models]
        command += ["--rounds", str(arguments.rounds)] if arguments.rounds else []
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        found[str(threads)] = json.loads(run.stdout.splitlines()[-1])
    results = {"date": date.today().isoformat(), "machine": machine(), "torch": torch.__version__, "threads": found}
    text = page(results)
    print(text)
    if not arguments.rounds and arguments.models == list(WATCHED):
        PAGE.write_text(text, encoding="utf-8")
        name = f"{results['date']}-overhead.json"
        (RESULTS / name).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
