"""What watching costs, beside other ways to watch: `make overhead` writes docs/overhead.md.

Each way trains a model of its own from the same start, and all take turns, step by step and in a new order each time.
The plain loop, the default budget and the one without limit make every step of a run; the other ways join them in
every few.  A step's cost is its time less that of the plain step of the same turn.  Told is the mean over the steps of
one kind (measured whole, norms read, left alone) without the lowest and highest tenth, weighed by how many of that
kind there were.
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
from floor import floor
from torch.optim import SGD, Optimizer
from watched_models import WATCHED, Watched
from watchers import WATCHERS, Watcher

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "overhead.md", ROOT / "benchmarks" / "results"
WARM_UP = 5
"""Steps before the timing; of the default budget they are those that are always measured whole, and are told apart."""
TRIMMED = 0.1
FLOOR_STEPS = 20
PLAIN, WHOLE, DEFAULT = "plain", "undertow, every step", "undertow, budget 2 %"
TARGETS = {"mlp": (6, 2), "cnn": (2.5, 2), "transformer": (1.5, 2), "deep": (None, 2)}
"""Per cent, of every step measured whole and of the default budget (issue 4)."""
DEEP_TARGET = 10
"""µs a leaf."""

Pair = tuple[str, float, float]
"""The kind of a step, its seconds, and those of the plain step of its turn."""


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

    def step(self) -> float:
        """The seconds that one takes."""
        self._since = time.perf_counter()
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.batch[0]), self.batch[1]).backward()
        self.watcher.before_step()
        self.optimizer.step()
        self.watcher.after_step()
        taken = time.perf_counter() - self._since
        self.seconds += taken
        self._since = None
        return taken


def measure(key: str, steps: int) -> dict[str, Any]:
    """Per way to watch, its overhead in per cent and of what it is made."""
    watched = WATCHED[key]
    turns = {name: Turn(watched, make()) for name, make in WATCHERS.items()}
    first = {name: sum(turn.step() for _ in range(WARM_UP)) for name, turn in turns.items()}
    pairs: dict[str, list[Pair]] = {name: [] for name in turns if name != PLAIN}
    for number in range(steps):
        order = list(turns) if number % watched.every == 0 else [PLAIN, DEFAULT, WHOLE]
        random.shuffle(order)
        kinds = {name: turns[name].watcher.kind for name in order}
        taken = {name: turns[name].step() for name in order}
        for name in order:
            if name != PLAIN:
                pairs[name].append((kinds[name], taken[name], taken[PLAIN]))
    plain = [seconds for _, _, seconds in pairs[DEFAULT]]
    found: dict[str, Any] = {
        "steps": steps,
        "plain_ms": 1e3 * statistics.median(plain),
        "first_ms": {name: 1e3 * seconds for name, seconds in first.items()},
        "overhead": {name: percent(of) for name, of in pairs.items()},
        "floor": floor(watched, min(steps, FLOOR_STEPS)),
        "kinds": kinds_of(pairs[DEFAULT]),
        "told": turns[DEFAULT].watcher.told(),
        "leaves": sum(1 for m in turns[PLAIN].model.modules() if not any(True for _ in m.children())),
    }
    in_all = percent(pairs[DEFAULT])[0] * statistics.fmean(plain) * steps / 100 + first[DEFAULT] - first[PLAIN]
    found["in_all"] = 100 * in_all / (sum(plain) + first[PLAIN])
    for turn in turns.values():
        turn.watcher.close()
    return found


def kinds_of(pairs: list[Pair]) -> dict[str, tuple[int, float, float]]:
    """Per kind of step how many there were, the µs that one cost, and the standard error."""
    extras: dict[str, list[float]] = {}
    for kind, seconds, plain in pairs:
        extras.setdefault(kind, []).append(1e6 * (seconds - plain))
    return {kind: (len(of), *trimmed(of)) for kind, of in extras.items()}


def percent(pairs: list[Pair]) -> tuple[float, float]:
    """The overhead, and its standard error."""
    whole = 1e4 * trimmed([plain for _, _, plain in pairs])[0] * len(pairs)
    kinds = kinds_of(pairs).values()
    spent = sum(count * mean for count, mean, _ in kinds)
    return spent / whole, math.hypot(*(count * error for count, _, error in kinds)) / whole


def trimmed(values: list[float]) -> tuple[float, float]:
    """The mean without the extremes, and its standard error."""
    cut = int(TRIMMED * len(values))
    kept = sorted(values)[cut : len(values) - cut]
    return statistics.fmean(kept), statistics.stdev(kept) / math.sqrt(len(kept)) if len(kept) > 1 else 0.0


def here(threads: int, steps: int | None, models: list[str]) -> dict[str, Any]:
    torch.set_num_threads(threads)
    random.seed(0)
    return {key: measure(key, steps or WATCHED[key].steps // threads) for key in models}


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
        overhead, (whole, default) = result["overhead"], TARGETS[key]
        a_leaf = overhead[WHOLE][0] / 100 * result["plain_ms"] * 1e3 / result["leaves"]
        measured = f"{overhead[WHOLE][0]:.1f} % (wanted: ≤ {whole})" if whole else f"(wanted: ≤ {DEEP_TARGET})"
        kinds = ", ".join(f"{n} {kind} {mean:+.0f} ± {e:.0f} µs" for kind, (n, mean, e) in result["kinds"].items())
        lines += [
            f"- {WATCHED[key].title}: every step {a_leaf:.1f} µs a leaf, {measured}; with the default budget "
            f"{overhead[DEFAULT][0]:.1f} % after the first five steps (wanted: ≤ {default}), {result['in_all']:.1f} % "
            f"in all of {result['steps'] + WARM_UP} steps; it says itself: {result['told']}.",
            f"  - its steps: {kinds}",
        ]
        if whole:  # of tiny layers the calls are all the cost
            lines.append(f"  - the floor: {described(result['floor'], result['plain_ms'])}")
        for name in ("naive hooks", "wandb.watch", "TensorBoard histograms"):
            if name in overhead and overhead[DEFAULT][0] > 0:
                lines.append(
                    f"  - {name}: {overhead[name][0] / overhead[DEFAULT][0]:.0f} × what the default budget costs"
                )
    return "\n".join(lines)


def described(found: dict[str, float], plain: float) -> str:
    """What reading alone takes."""
    megabytes, first, again = found["bytes"] / 1e6, found["first"], found["again"]
    return (
        f"{megabytes:.1f} MB a step take {first:.2f} ms to read once where they arise ({100 * first / plain:.1f} %, "
        f"{megabytes / first:.0f} GB/s), and {again:.2f} ms to read again ({100 * again / plain:.1f} %)"
    )


def page(results: dict[str, Any]) -> str:
    parts = [
        "# What watching costs",
        "`make overhead` measures this page's numbers, all in one run, the ways to watch taking turns; the ± is the "
        "standard error.  The default budget is measured in one watch beside a plain twin, step by step, as is the one "
        "that measures every step; the other ways join in every few.  The dated file in `benchmarks/results` has every "
        "number.  Cockpit is not among them: it needs torchvision.",
        f"{results['date']}, {results['machine']}, torch {results['torch']}.",
        "- *every step*: `watch(budget=None)`: statistics of every operation's output and of its gradient, f′ of every "
        "activation (of 131,072 inputs or more: of 65,536 of them), weight, gradient and update of every parameter, "
        "the ledger's factors.\n"
        "- *budget 2 %*: the default, after its first five steps.\n"
        "- *naive hooks*: mean, standard deviation and share of zeros of every leaf module's output, norm of its "
        "gradient and of each parameter's, each by `.item()`.\n"
        "- *wandb.watch*: `log='all', log_freq=1`, offline, with one `wandb.log` a step; its own process is not "
        "counted.\n"
        "- *TensorBoard histograms*: `add_histogram` of each parameter and gradient, each step.\n"
        "- *the floor*: outputs of leaves, their gradients, parameters and theirs, each read once by torch's own sum, "
        "its fastest read, in hooks at the same places; the cost of the calls is taken off.  No way to watch that "
        "reads every value can cost less.",
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
    parser.add_argument("--steps", type=int, help="other than a model's own, to try it out: writes no page")
    parser.add_argument("--models", nargs="+", choices=list(WATCHED), default=list(WATCHED))
    arguments = parser.parse_args()
    if arguments.threads:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(json.dumps(here(arguments.threads, arguments.steps, arguments.models)))
        return
    found = {}
    for threads in (1, 2):
        command = [sys.executable, __file__, "--threads", str(threads), "--models", *arguments.models]
        command += ["--steps", str(arguments.steps)] if arguments.steps else []
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        found[str(threads)] = json.loads(run.stdout.splitlines()[-1])
    results = {"date": date.today().isoformat(), "machine": machine(), "torch": torch.__version__, "threads": found}
    text = page(results)
    print(text)
    if not arguments.steps and arguments.models == list(WATCHED):
        PAGE.write_text(text, encoding="utf-8")
        name = f"{results['date']}-overhead.json"
        (RESULTS / name).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
