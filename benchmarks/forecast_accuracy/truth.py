"""The measured side of each case, kept as JSON so that a changed law is judged without measuring again."""

from __future__ import annotations

import json
from pathlib import Path

import torch.nn.functional as F
from benchmarks.forecast_accuracy.cases import Case
from benchmarks.forecast_accuracy.witness import Measured, Size, measure

import undertow as ut


def measured(case: Case, seeds: int, kept: Path | None) -> list[Measured]:
    """Of the seeds 0 to `seeds` − 1: read from `kept`/ROW/NAME.json as far as they are there, else measured."""
    path = kept / f"{case.key}.json" if kept else None
    found = _read(path) if path and path.exists() else []
    if len(found) < seeds:
        found += [_measured(case, seed) for seed in range(len(found), seeds)]
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([{"sites": m.sites, "weights": m.weights} for m in found]), encoding="utf-8")
    return found[:seeds]


def _measured(case: Case, seed: int) -> Measured:
    built = case.build(seed)
    if not case.ledger:
        return measure(built.model, built.given, built.loss)
    batch = (built.given, built.target)
    entries = ut.examine(built.model, batch, F.cross_entropy).ledger.path
    return Measured({e.site.name: Size(e.forward_rms, e.backward_rms) for e in entries}, {})


def _read(path: Path) -> list[Measured]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Measured({site: Size(*sizes) for site, sizes in row["sites"].items()}, row["weights"]) for row in rows]
