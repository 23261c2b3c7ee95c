"""Whether the cures that `ut.cure` finds are any good: `make score-cures` writes docs/cures-score.md.

    python -m benchmarks.cures                       every public run and every one of ours, with random choice
    python -m benchmarks.cures --only public         one source, or runs by their names (printed, not written)
    python -m benchmarks.cures --no-random           without random choice at the same cost

Each run is in one process with one thread.  What came out is kept in benchmarks/results/cures-SOURCE.json, and the
page is made of all that is kept; --page makes it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch
from benchmarks.cures.page import page
from benchmarks.cures.sick import Sick, sick
from benchmarks.cures.trying import Tried, tried
from benchmarks.score.processes import parallel
from benchmarks.score.sources import CASES, ROOT

from undertow.foundation import InputError

RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "cures-score.md"
SOURCES = ("public", "own")


def chosen(runs: dict[str, Sick], only: list[str]) -> list[Sick]:
    """The runs of these names, sources, or `healthy` and `faulty`.

    Raises InputError where a name fits none.
    """
    groups = {*SOURCES, "healthy", "faulty"}
    if unknown := [name for name in only if name not in groups and name not in runs]:
        raise InputError(f"--only {unknown[0]}", f"a run such as {next(iter(runs))}, or one of {sorted(groups)}", "")
    kinds = {name: {name, run.source, "healthy" if run.healthy else "faulty"} for name, run in runs.items()}
    return [run for name, run in runs.items() if not only or kinds[name] & set(only)]


def line(result: Tried) -> str:
    what = result.error or f"{result.cure or 'nothing'} {result.outcome}"
    best = f" of {result.best:.3f}" if result.best is not None else f" (good: {result.good:.3f})"
    drawn = ", ".join(f"{m:.3f}" for m in result.random)
    return (
        f"{result.name:32s} {result.control:6.3f} -> {result.metric:6.3f}{best}  fresh {result.fresh:.3f} "
        f"{result.fresh_outcome:9s} cost {result.cost:4.1f}  {what}  random {drawn}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make score-cures", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=Path, default=CASES, help="the folder of the public cases")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--no-random", action="store_true")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args(arguments)
    runs = sick(options.cases)
    try:
        wanted = [] if options.page else chosen(runs, options.only)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    start, found = time.time(), list[Tried]()
    work = [(run.name, options.cases, options.seeds, not (options.no_random or run.healthy)) for run in wanted]
    for i, result in enumerate(parallel(tried, work, options.jobs, ordered=False), 1):
        found.append(result)
        print(f"{i:3d} / {len(work)} {time.time() - start:5.0f} s  {line(result)}", flush=True)
    if set(options.only) <= set(SOURCES):
        for source in {result.source for result in found}:
            save(source, sorted((r for r in found if r.source == source), key=lambda r: r.name))
        kept = {s: RESULTS / f"cures-{s}.json" for s in SOURCES}
        PAGE.write_text(page({s: json.loads(path.read_text()) for s, path in kept.items() if path.is_file()}))
        print(f"written: {PAGE}")
    return 0


def save(source: str, results: list[Tried]) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    what = {"date": date.today().isoformat(), "machine": machine, "runs": [asdict(r) for r in results]}
    text = json.dumps(what, ensure_ascii=False).replace('{"name"', '\n{"name"')  # a run a line
    (RESULTS / f"cures-{source}.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
