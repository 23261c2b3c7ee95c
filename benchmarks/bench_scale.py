"""What observing costs on many ranks: `make scale` measures the constants and writes them into docs/scale.md.

Bytes are counted from the messages themselves, times are of gloo on this machine (all ranks on one host: the latency of
its loopback, not of a network), and the figures for 10,000 sites on 1,024 ranks follow from them by the models in the
page.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import tempfile
import time
import tracemalloc
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from undertow.probe.sharing.exchange import Exchange
from undertow.probe.sharing.sharding import Layout
from undertow.probe.sharing.tally import SnapshotMessage, step_message
from undertow.record import Entry, Ledger, ParameterReading, Reading, Recording, Site, Snapshot, StepReading
from undertow.record.runfile import RunFile

ROOT = Path(__file__).parents[1]
SITES, RANKS = 10_000, 1_024
"""Of the case on paper; a parameter a site."""
SIZES = (64, 4_096, 65_536, 524_288, 2_097_152)
"""Bytes of the messages that are timed."""
PROCESSES = (2, 4, 8)
REPEATS = 15
NETWORK = {"latency": 30e-6, "bandwidth": 1.25e9}
"""Of TCP between hosts on 10 Gbit Ethernet, assumed: the page says so."""


def reading(size: float) -> Reading:
    return Reading(4096, 0.0, size, 3 * size)


def snapshot(sites: int, step: int = 7) -> Snapshot:
    """A step with so many sites in a chain, each with a parameter."""
    found = [Site(f"blocks.{i}.linear", "linear", 0, "weights") for i in range(sites)]
    before = [None, *found[:-1]]
    entries = [Entry(s, p, reading(1.0), reading(1e-3), weights=1.01) for s, p in zip(found, before, strict=True)]
    parameters = {f"{s.module}.weight": ParameterReading(reading(0.1), reading(0.01), reading(1e-4)) for s in found}
    return Snapshot(step, Ledger(tuple(entries), step), 128, reading(1.0), parameters)


def layout(sites: int, ranks: int, pieces: int) -> Layout:
    return Layout(tuple(range(ranks)), 0, {f"blocks.{i}.linear.weight": pieces for i in range(sites)})


def size_of(sites: int, ranks: int, sharded: bool, with_sites: bool = True) -> int:
    """Bytes of the two messages of a measured step."""
    names = tuple(f"blocks.{i}.linear#0" for i in range(sites)) if with_sites else ()
    message = SnapshotMessage(layout(sites, ranks, ranks if sharded else 1), names)
    return sum(t.nbytes for t in message.pack(7, snapshot(sites), 9))


def bytes_each() -> dict[str, float]:
    """How the size grows with each thing."""
    base = size_of(100, 2, False, False)
    return {
        "site": (size_of(200, 2, False) - size_of(100, 2, False) - (size_of(200, 2, False, False) - base)) / 100,
        "parameter, whole": (size_of(200, 2, False, False) - base) / 100,
        "parameter, sharded": (size_of(200, 2, True, False) - size_of(100, 2, True, False)) / 100,
        "rank": float(size_of(100, 3, False, False) - base),
        "rank, of a plain step": float(
            step_message(StepReading(0, 1.0, 0.1), layout(1, 3, 3), 1.0, 1.0).nbytes
            - step_message(StepReading(0, 1.0, 0.1), layout(1, 2, 2), 1.0, 1.0).nbytes
        ),
    }


def own_time(sharded: bool) -> tuple[float, float]:
    """CPU seconds to pack and to unpack a message of all sites, the least of five."""
    names = tuple(f"blocks.{i}.linear#0" for i in range(SITES))
    message, given = SnapshotMessage(layout(SITES, RANKS, RANKS if sharded else 1), names), snapshot(SITES)
    packing, unpacking = [], []
    for _ in range(5):
        start = time.thread_time()
        total, top = message.pack(7, given, 9)
        packed = time.thread_time()
        message.unpack(given, total, top)
        packing.append(packed - start)
        unpacking.append(time.thread_time() - packed)
    return min(packing), min(unpacking)


def memory() -> dict[str, int]:
    """Bytes that a snapshot of all sites keeps in a recording, before and after the ranks' word on it."""
    tracemalloc.start()
    given = snapshot(SITES)
    plain = tracemalloc.get_traced_memory()[0]
    names = tuple(f"blocks.{i}.linear#0" for i in range(SITES))
    message = SnapshotMessage(layout(SITES, 2, 1), names)
    total, top = message.pack(7, given, 9)
    before = tracemalloc.get_traced_memory()[0]
    found = message.unpack(given, total, top)
    spread = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert found.ranks is not None
    return {"snapshot": plain, "spread": spread}


def run_file(sites: int = 1_000, snapshots: int = 40) -> dict[str, float]:
    """Bytes a site that a measured step adds to the run file, and bytes of a plain step."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = []
        for measured, plain in ((1, 0), (snapshots, 0), (snapshots, 10_000)):
            path = Path(folder) / f"{measured}-{plain}.undertow"
            file = RunFile(path)
            recording = Recording(sinks=[file])
            names = tuple(f"blocks.{i}.linear#0" for i in range(sites))
            message = SnapshotMessage(layout(sites, 2, 1), names)
            for step in range(measured):
                given = snapshot(sites, step)
                recording.add(message.unpack(given, *message.pack(step, given, 9)))
            for step in range(plain):
                recording.add(StepReading(step, 1 / (step + 1), 0.1))
            kept = len(recording.snapshots)
            file.close()
            sizes.append((path.stat().st_size, kept))
    (one, _), (many, kept), (steps, _) = sizes
    return {"site of a measured step": (many - one) / (kept - 1) / sites, "plain step": (steps - many) / 10_000}


# ------------------------------------------------------------ gloo


def rank_main(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=60))
    start = time.perf_counter()
    exchange = Exchange(Layout(tuple(range(ranks)), rank, {"weight": 1}), False)
    announced = time.perf_counter() - start
    dist.barrier()
    before = sockets()
    start = time.perf_counter()
    exchange.join()
    joined = time.perf_counter() - start
    found: dict[str, Any] = {"announce": announced, "join": joined, "launch": [], "times": {}}
    for size in SIZES:
        taken = []
        for _ in range(REPEATS):
            tensor = torch.ones(size // 8, dtype=torch.float64)
            dist.barrier()
            start = time.perf_counter()
            works = exchange.start(tensor)
            found["launch"].append(time.perf_counter() - start)
            exchange.finish(works)
            taken.append(time.perf_counter() - start)
        found["times"][size] = statistics.median(taken)
    found["launch"] = statistics.median(found["launch"])
    found["sockets"] = sockets() - before
    dist.barrier()
    exchange.leave()
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def sockets() -> int:
    return sum(map(_is_socket, os.listdir("/proc/self/fd")))


def _is_socket(descriptor: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket")
    except OSError:
        return False


def gloo(ranks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(rank_main, (ranks, folder), ranks)  # pyright: ignore[reportPrivateImportUsage]
        return json.loads((Path(folder) / "found.json").read_text(encoding="utf-8"))


def fitted(times: dict[str, float], ranks: int) -> tuple[float, float]:
    """α and 1/β of the ring by least squares: t = 2 (p - 1) α + 2 m (p - 1) / (p β)."""
    rows = torch.tensor([[2.0 * (ranks - 1), 2.0 * int(m) * (ranks - 1) / ranks] for m in times], dtype=torch.float64)
    right = torch.tensor(list(times.values()), dtype=torch.float64)
    weight = 1 / right  # relative errors count alike
    found = torch.linalg.lstsq(rows * weight[:, None], (right * weight)[:, None]).solution.flatten().tolist()
    return max(found[0], 0.0), max(found[1], 0.0)


def ring(size: float, ranks: int, latency: float, bandwidth: float) -> float:
    return 2 * (ranks - 1) * latency + 2 * size * (ranks - 1) / ranks / bandwidth


def tree(size: float, ranks: int, latency: float, bandwidth: float) -> float:
    return 2 * math.log2(ranks) * latency + 2 * size * (ranks - 1) / ranks / bandwidth


# ------------------------------------------------------------ the page


def tables(found: dict[str, Any]) -> str:
    return "\n\n".join([constants(found["bytes"]), groups(found["gloo"]), on_paper(found)])


def constants(each: dict[str, float]) -> str:
    rows = [f"| {what} | {size:.0f} |" for what, size in each.items()]
    return "\n".join(["| what a message holds of each | bytes |", "|---|---|", *rows])


def groups(found: dict[str, Any]) -> str:
    lines = ["| ranks | sockets | announce | join | start | 64 B | 4 KiB | 512 KiB | 2 MiB | α | β |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|---|")
    for ranks, row in found.items():
        times, (alpha, inverse) = row["times"], row["fit"]
        shown = [f"{times[str(m)] * 1e3:.2f} ms" for m in (64, 4_096, 524_288, 2_097_152)]
        setup = [f"{row['announce'] * 1e6:.0f} µs", f"{row['join'] * 1e3:.1f} ms", f"{row['launch'] * 1e6:.0f} µs"]
        fit = [f"{alpha * 1e6:.0f} µs", f"{1 / inverse / 1e9:.1f} GB/s" if inverse else "not resolved"]
        lines.append("| " + " | ".join([ranks, str(row["sockets"]), *setup, *shown, *fit]) + " |")
    return "\n".join(lines)


def on_paper(found: dict[str, Any]) -> str:
    each, kept, file = found["bytes"], found["memory"], found["file"]
    fixed = each["site"] * SITES + each["rank"] * RANKS
    sizes = [fixed + each[f"parameter, {kind}"] * SITES for kind in ("whole", "sharded")]
    plain = each["rank, of a plain step"] * RANKS
    hops, levels = 2 * (RANKS - 1), 2 * int(math.log2(RANKS))
    rows = [
        ("message of a measured step, in its two parts", *(f"{s / 1e6:.2f} MB" for s in sizes)),
        ("message of any other step", "none", f"{plain / 1e3:.1f} kB"),
        ("sent by a rank, measured step", *(f"{2 * s * (RANKS - 1) / RANKS / 1e6:.2f} MB" for s in sizes)),
        ("hops, measured step: ring", *[f"{2 * hops:,}"] * 2),
        ("hops, measured step: tree", *[f"{2 * levels}"] * 2),
    ]
    link = NETWORK["latency"], NETWORK["bandwidth"]
    for name, model in (("ring", ring), ("tree", tree)):
        # two parts: the latency counts twice, their bytes once
        times = [model(s, RANKS, *link) + model(0, RANKS, *link) for s in sizes]
        rows.append((f"time on the wire, measured step: {name}", *(f"{t * 1e3:.1f} ms" for t in times)))
        rows.append((f"time on the wire, other step: {name}", "none", f"{model(plain, RANKS, *link) * 1e3:.1f} ms"))
    own = [f"{1e3 * packing:.0f} + {1e3 * unpacking:.0f} ms" for packing, unpacking in found["own time"]]
    rows += [
        ("packing + unpacking in the training's thread, measured step", *own),
        ("memory that a measured step keeps", *[f"{kept['snapshot'] / 1e6:.1f} + {kept['spread'] / 1e6:.1f} MB"] * 2),
        ("run file, measured step", *[f"{file['site of a measured step'] * SITES / 1e6:.2f} MB"] * 2),
        ("run file, other step", f"{file['plain step']:.0f} B", f"{(file['plain step'] + 8 * RANKS) / 1e3:.1f} kB"),
    ]
    head = f"| {SITES:,} sites, as many parameters, {RANKS:,} ranks | whole (DDP) | sharded (FSDP) |"
    return "\n".join([head, "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    found: dict[str, Any] = {"date": date.today().isoformat(), "bytes": bytes_each(), "gloo": {}}
    for ranks in PROCESSES:
        row = gloo(ranks)
        found["gloo"][str(ranks)] = {**row, "fit": fitted(row["times"], ranks)}
    found |= {"own time": [own_time(False), own_time(True)], "memory": memory(), "file": run_file()}
    load = f"load average {os.getloadavg()[0]:.0f}"
    found["machine"] = f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}, {load}"
    results = ROOT / "benchmarks" / "results" / "scale.json"
    results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = ROOT / "docs" / "scale.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- measured -->\n")
    after = rest.partition("<!-- end -->")[2]
    measured = f"<!-- measured -->\n{found['date']}, CPU, {found['machine']}.\n\n{tables(found)}\n<!-- end -->"
    page.write_text(before + measured + after, encoding="utf-8")
    print(tables(found))


if __name__ == "__main__":
    main()
