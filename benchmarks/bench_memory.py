"""What training keeps and needs before and after `ut.lean`: `make memory` writes docs/memory.md.

Kept: bytes of distinct memory that autograd packs for its backward pass, the parameters' own left out.  Peak: the
largest resident size of a process of its own, less what it had before its first step.  Time: of a training step, the
two taking turns in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lean_models import CASES
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

ROOT = Path(__file__).parents[1]
ROUNDS = 3
STEPS_TO_PEAK = 3
MIB = 1 << 20


def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    model.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    return loss.detach()


def kept(model: nn.Module, batch: tuple[Tensor, Tensor], autocast: bool) -> int:
    """Bytes that autograd packs in one forward pass."""
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    packed: dict[int, Tensor] = {}

    def pack(t: Tensor) -> Tensor:
        packed[t.untyped_storage().data_ptr()] = t
        return t

    with saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = F.cross_entropy(model(batch[0]), batch[1])
    size = sum(t.untyped_storage().nbytes() for pointer, t in packed.items() if pointer not in known)
    del loss
    return size


def peak(name: str, side: str) -> int:
    """The same in a process of its own, whose memory nothing else has touched."""
    command = [sys.executable, __file__, "--peak", name, side]
    # glibc's own threshold grows with what is freed, and then holes between tensors count as used
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def peak_here(name: str, side: str) -> int:
    case = CASES[name]
    model, batch = getattr(case, side)(), case.batch()
    one = batch[0][:1], batch[1][: len(batch[1]) // len(batch[0])]
    step(model, one)  # gradients and whatever torch sets up once
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, of importing and of setting up
    before = resident_peak()
    for _ in range(STEPS_TO_PEAK):
        step(model, batch)
    return resident_peak() - before


def resident_peak() -> int:
    """Bytes.  Not `ru_maxrss`: in a child that starts from what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def times(plain: nn.Module, lean: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Seconds of a plain step (the shortest), and lean over plain (the median of neighbours in time)."""
    taken: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        pair = []
        for model in (plain, lean):
            start = time.perf_counter()
            step(model, batch)
            pair.append(time.perf_counter() - start)
        taken.append((pair[0], pair[1]))
    return min(a for a, _ in taken), statistics.median(b / a for a, b in taken)


def measured(name: str) -> dict[str, Any]:
    case = CASES[name]
    batch = case.batch()
    plain, lean = case.plain(), case.lean()
    lean.load_state_dict(plain.state_dict())
    assert torch.equal(step(plain, batch), step(lean, batch)), name
    for ours, theirs in zip(lean.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None, name
        assert theirs.grad is not None, name
        assert torch.equal(ours.grad, theirs.grad), f"{name}: gradients differ"
    seconds, ratio = times(plain, lean, batch)
    return {
        "network": name,
        "kept": [kept(model, batch, autocast=False) for model in (plain, lean)],
        "kept under autocast": [kept(model, batch, autocast=True) for model in (plain, lean)],
        "peak": [peak(name, side) for side in ("plain", "lean")],
        "step": seconds,
        "ratio": ratio,
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| network | kept, f32 | kept, bf16 autocast | peak, f32 | step, f32 | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = []
        for what in ("kept", "kept under autocast", "peak"):
            before, after = row[what]
            sizes.append(f"{before / MIB:.0f} → {after / MIB:.0f} MiB, −{1 - after / before:.0%}")
        lines.append(f"| {row['network']} | {' | '.join(sizes)} | {row['step'] * 1e3:.0f} ms | {row['ratio']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peak", nargs=2, metavar=("NETWORK", "SIDE"))
    options = parser.parse_args()
    if options.peak:
        name, side = options.peak
        print(peak_here(name, side))
        return
    rows = []
    for name in CASES:
        rows.append(measured(name))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    load = f"load average {os.getloadavg()[0]:.0f}"
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {load}"
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    found = {"date": date.today().isoformat(), "machine": machine, "rows": rows}
    (results / "memory.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    head, _, rest = page.partition("<!-- measured -->\n")
    _, _, tail = rest.partition("<!-- end -->")
    text = f"{head}<!-- measured -->\n{date.today():%Y-%m-%d}, CPU, {machine}.\n\n{table(rows)}\n<!-- end -->{tail}"
    (ROOT / "docs" / "memory.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
