"""How many faults the diagnosis finds and how often it cries wolf: `make score` writes docs/score.md.

    python -m benchmarks.score                          ours on all runs, seeds 0 1 2
    python -m benchmarks.score --peers                  the other tools and the folk rules on the same
    python -m benchmarks.score --metamorphic            changes that may change no verdict
    python -m benchmarks.score --truth                  whether the labels of our own models hold, without any tool
    python -m benchmarks.score --only vanishing loops   a name, a file or a kind; printed, not written
    python -m benchmarks.score --only public            a whole source (public, own, matrix) is written
    python -m benchmarks.score --first-sight --only sparse   new models, before a rule's writer sees them: kept for good

Each run is in one process with one thread. What a tool said is kept in benchmarks/results/score-TOOL-SOURCE.json, and
the page is made of all that is kept; --page makes it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from benchmarks.score import truth
from benchmarks.score.metamorphic import CHANGES
from benchmarks.score.outcome import Outcome, judged
from benchmarks.score.page import SOURCES, counts, page
from benchmarks.score.processes import parallel
from benchmarks.score.sources import CASES, ROOT, all_cases, chosen, label_holds
from benchmarks.score.tools import TOOLS
from benchmarks.score.training import Case

from undertow.foundation import InputError

RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "score.md"


def one(name: str, seed: int, tool: str, folder: Path, change: str = "") -> Outcome:
    """In a process of its own, which knows the cases by their names only."""
    return judged(all_cases(folder)[name], seed, TOOLS[tool], CHANGES[change] if change else None)


def runs(work: list[tuple[Any, ...]], options: argparse.Namespace) -> Iterator[Any]:
    """The outcomes, as they come."""
    start = time.time()
    for i, done in enumerate(parallel(one, work, options.jobs, ordered=False), 1):
        print(f"{i:4d} / {len(work)}  {time.time() - start:5.0f} s  {line(done)}", flush=True)
        yield done


def line(o: Outcome) -> str:
    right = "ALARM" if o.false_alarm else "MISS " if not o.found else "ok   "
    return f"{right} {o.case:28s} {o.seed}  {o.error or '; '.join(map(str, o.said))}"


def score(tool: str, cases: list[Case], options: argparse.Namespace) -> None:
    """Runs a tool on the cases, prints what comes out and keeps it."""
    print(f"# {tool}: {len(cases)} cases, seeds {options.seeds}")
    # The rows of the matrix set their own seed: one run of each is all there is.
    seeds = {c.name: options.seeds[:1] if c.source == "matrix" else options.seeds for c in cases}
    work = [(c.name, seed, tool, options.cases) for c in cases for seed in seeds[c.name]]
    found = sorted(runs(work, options), key=lambda o: (o.case, o.seed))
    for source in sorted({o.source for o in found}):
        of = [o for o in found if o.source == source]
        titles = ("found", "false alarms", "right cause", "right place")
        print(f"{tool} on {source}: " + ", ".join(f"{n} {c}" for n, c in zip(titles, counts(of), strict=True)))
        if whole(options):
            save(f"score-{tool}-{source}", {"version": installed(tool), "outcomes": [asdict(o) for o in of]})


def metamorphic(cases: list[Case], options: argparse.Namespace) -> None:
    """Each change beside none, on every run in the ordinary loop; kept after each change."""
    ordinary = [c for c in cases if c.source != "matrix" and c.training(options.seeds[0]).loop is None]
    keys = [(c.name, seed) for c in ordinary for seed in options.seeds]
    plain, by_change = dict[tuple[str, int], Outcome](), dict[str, Any]()
    for change in ("", *CHANGES):
        print(f"# {change or 'unchanged'}", flush=True)
        work = [(name, seed, "undertow", options.cases, change) for name, seed in keys]
        found = {(o.case, o.seed): o for o in runs(work, options)}
        plain = plain or found
        if not change:
            continue
        changed = [k for k in keys if kinds(found[k]) != kinds(plain[k])]
        work = [(*k, options.cases, change) for k in changed]
        true = dict(zip(changed, parallel(still_true, work, options.jobs), strict=True))
        by_change[change] = {
            "runs": len(keys),
            "same": len(keys) - len(changed),
            "answers": sum(right(found[k]) == right(plain[k]) for k in keys),
            "changed": [
                {"case": k[0], "seed": k[1], "now": kinds(found[k]), "before": kinds(plain[k]), "true": true[k]}
                | {"right": right(found[k]), "was_right": right(plain[k])}
                for k in changed
            ],
        }
        print(f"{change}: same verdict {len(keys) - len(changed)} / {len(keys)}")
        for line in by_change[change]["changed"]:
            print(line)
        if whole(options):
            save("score-metamorphic", {"seeds": options.seeds, "by_change": by_change})


def kinds(o: Outcome) -> str:
    return f"broke down: {o.error}" if o.error else ", ".join(sorted({s.kind for s in o.said})) or "nothing"


def right(o: Outcome) -> bool:
    """Whether the fault is found, or the healthy run left alone."""
    return not o.false_alarm if o.healthy else o.found


def still_true(name: str, seed: int, folder: Path, change: str) -> bool | None:
    """Whether the label holds under the change; None for our own models, whose labels are a metric."""
    case = all_cases(folder)[name]
    torch.set_num_threads(1)
    return label_holds(case, seed, CHANGES[change], folder) if case.source == "public" else None


def first_sight(cases: list[Case], options: argparse.Namespace) -> None:
    """What is said of models that no rule's writer has seen, kept for good: judged again they are no surprise."""
    path = RESULTS / "score-first-sight.json"
    kept = json.loads(path.read_text())["outcomes"] if path.is_file() else []
    new = [c for c in cases if c.name not in {o["case"] for o in kept}]
    work = [(c.name, seed, "undertow", options.cases) for c in new for seed in options.seeds]
    found = sorted(runs(work, options), key=lambda o: (o.case, o.seed))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    outcomes = [*kept, *({**asdict(o), "commit": commit.stdout.strip()} for o in found)]
    save("score-first-sight", {"version": installed("undertow"), "outcomes": outcomes})


def whole(options: argparse.Namespace) -> bool:
    """Whether all runs of a source are judged, so that they are worth keeping."""
    return set(options.only) <= set(SOURCES)


def installed(tool: str) -> str:
    try:
        return f"{tool.partition('-')[0]} {version(tool.partition('-')[0])}"
    except PackageNotFoundError:
        return "a rule in benchmarks/score/tools.py" if "-" in tool else "not installed"


def save(name: str, what: dict[str, Any]) -> None:
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    what = {"date": date.today().isoformat(), "machine": machine, **what}
    text = json.dumps(what, ensure_ascii=False).replace('{"case"', '\n{"case"')  # a run a line
    (RESULTS / f"{name}.json").write_text(text + "\n")


def write(cases: dict[str, Case]) -> None:
    """The page of all that is kept."""
    kept = {(t, s): RESULTS / f"score-{t}-{s}.json" for t in TOOLS for s in SOURCES}
    results = {key: json.loads(path.read_text()) for key, path in kept.items() if path.is_file()}
    more = [RESULTS / f"score-{name}.json" for name in ("metamorphic", "first-sight")]
    text = page(results, cases, *(json.loads(path.read_text()) if path.is_file() else None for path in more))
    PAGE.write_text(text)
    print(f"written: {PAGE}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make score", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=Path, default=CASES, help="the folder of the public cases")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), metavar="TOOL")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    for flag in ("--peers", "--metamorphic", "--truth", "--page", "--first-sight"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args(arguments)
    try:
        every = all_cases(options.cases)
        cases = chosen(every.values(), options.only)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.truth:
        return truth.check([c for c in cases if c.source == "own"], options.seeds, options.jobs)
    if options.first_sight:
        first_sight(cases, options)
    elif options.metamorphic:
        metamorphic(cases, options)
    elif not options.page:
        others = [tool for tool in TOOLS if not tool.startswith("undertow")]
        for tool in options.tools or (others if options.peers else ["undertow"]):
            score(tool, cases, options)
    if whole(options) or options.first_sight:
        write(every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
