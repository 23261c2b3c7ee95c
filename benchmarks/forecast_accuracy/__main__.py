"""The forecast against networks measured by plain torch: `make forecast-accuracy` writes docs/forecast-accuracy.md.

    python -m benchmarks.forecast_accuracy [--quick] [--only REGEX] [--seeds SHARE] [--truth DIR]

While a law is worked on: `--truth DIR` keeps what was measured in DIR/ROW/NAME.json, a list by seed of
{"sites": {"3.up#0": [forward rms, backward rms], …}, "weights": {"3.up.weight": norm of the gradient, …}}, and
measures nothing again that is there; `--only 'conv/tanh'` runs the cases whose ROW/NAME matches.  In Python,
`case.build(seed)` of a case of `cases.cases()` is the model with its input, and `truth.measured(case, 3, Path(DIR))`
what was measured of the seeds 0 to 2.  Errors are of the median over seeds, each seed's forecast made from its own
weights and input.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import torch
from benchmarks.forecast_accuracy import extremes
from benchmarks.forecast_accuracy.cases import Case, cases
from benchmarks.forecast_accuracy.page import HEAD, details, summary
from benchmarks.forecast_accuracy.rows import TITLES, Line
from benchmarks.forecast_accuracy.run import run

ROOT = Path(__file__).parents[2]
PAGE, RESULTS = ROOT / "docs" / "forecast-accuracy.md", ROOT / "benchmarks" / "results"
QUICK = ("relu-he", "tanh-default", "LayerNorm-relu", "gelu-B16", "MLP-gelu", "conv/tanh-matched", "ledger/demo")
"""What `--quick` takes of the cases."""
FEWEST = 3
"""Seeds of a case with `--quick`, and the fewest otherwise."""


def chosen(options: argparse.Namespace) -> list[tuple[Case, int]]:
    """The cases with their seeds, the dearest first."""
    found = [c for c in cases() if re.search(options.only, c.key)]
    if options.quick:
        found = [c for c in found if any(part in c.key for part in QUICK)]
    share = 0.0 if options.quick else options.seeds
    seeds = [min(c.seeds, max(FEWEST, round(c.seeds * share))) for c in found]
    return sorted(zip(found, seeds, strict=True), key=lambda pair: -pair[1])


def lines(options: argparse.Namespace) -> Iterator[Line]:
    work, spawn = chosen(options), get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawn, torch.set_num_threads, (1,)) as pool:
        for done in as_completed([pool.submit(run, case, seeds, options.truth) for case, seeds in work]):
            yield done.result()
    if re.search(options.only, "underflow"):
        yield from extremes.underflow(1 if options.quick else 5)
    if re.search(options.only, "time"):
        yield from extremes.times(*(3, 256) if options.quick else (9, 1024))


def show(line: Line) -> str:
    got = ", ".join(f"{g.what} {g.show(g.value)} (≤ {g.show(g.limit)})" for g in line.got)
    return f"{line.outcome:8}{line.row}/{line.name}: {got}; {line.note} {' '.join(line.flags)}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast_accuracy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a few cases and seeds, in a minute; writes nothing")
    parser.add_argument("--only", default="", metavar="REGEX", help="the cases whose ROW/NAME it finds; writes nothing")
    parser.add_argument("--seeds", type=float, default=1.0, metavar="SHARE", help="of each case's seeds; at least 3")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="where what was measured is kept and looked up")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes, each with one thread")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, found = time.perf_counter(), []
    for line in lines(options):
        print(show(line), flush=True)
        found.append(line)
    order = list(TITLES)
    found.sort(key=lambda line: (order.index(line.row), line.name))
    print(f"\n{summary(found)}\n\n{time.perf_counter() - start:.0f} s")
    if not options.quick and not options.only:
        write(found)


def write(found: list[Line]) -> None:
    machine = f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}"
    record = {"date": date.today().isoformat(), "machine": machine, "lines": [line.record() for line in found]}
    path = RESULTS / f"{date.today():%Y-%m-%d}-forecast-accuracy.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = f"{HEAD}\n{date.today():%Y-%m-%d}, {machine}.\n\n{summary(found)}\n\n{details(found)}"
    PAGE.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
