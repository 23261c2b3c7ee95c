"""Programs of the frameworks under `undertow run`, without an adapter: found, measured, and not changed by one bit."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from undertow.record.runfile import Saved, read

pytestmark = pytest.mark.slow
PROGRAMS = Path(__file__).parent / "programs"
SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}


def ran(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, env=SOURCE)


def both(name: str, folder: Path) -> Saved:
    """The program alone and watched print the same; what the watched one recorded."""
    program = str(PROGRAMS / name)
    alone = ran(folder, program)
    assert alone.returncode == 0, alone.stderr
    watched = ran(folder, "-m", "undertow", "run", "--budget", "all", program)
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout == alone.stdout
    assert "undertow itself failed" not in watched.stderr
    assert "stopped observing" not in watched.stderr
    return read(folder / "run.undertow")


def test_lightning_automatic(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (recording,) = both("lightning_automatic.py", tmp_path).recordings
    assert recording.name == "net"
    assert [s.step for s in recording.steps] == list(range(6))  # 3 epochs of 4 batches, 2 a step
    assert {s.passes for s in recording.steps} == {2}
    assert len(recording.snapshots) == 6
    assert [e.site.name for e in recording.snapshots[0].ledger][:2] == ["0#0", "1#0"]


def test_lightning_manual(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    found = {r.name: r for r in both("lightning_manual.py", tmp_path).recordings}
    assert set(found) == {"generator", "critic"}
    assert all(len(r.steps) == 8 for r in found.values())
    assert all(r.optimizers == ["RMSprop"] for r in found.values())


def test_hugging_face_trainer(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    (recording,) = both("hf_trainer.py", tmp_path).recordings
    assert len(recording.steps) == 6  # 2 epochs of 6 batches, 2 a step
    assert {s.passes for s in recording.steps} == {2}
    assert max(s.gradient_norm for s in recording.steps) <= 0.5 * (1 + 1e-5)
    assert all((s.unclipped_norm or s.gradient_norm) >= s.gradient_norm * (1 - 1e-6) for s in recording.steps)
    names = [e.site.module for e in recording.snapshots[0].ledger]
    assert "transformer.h.0.mlp.c_fc" in names


def test_an_accelerate_loop(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    (recording,) = both("accelerate_loop.py", tmp_path).recordings
    assert len(recording.steps) == 8
    assert {s.passes for s in recording.steps} == {2}
    assert any(s.clip_ratio < 1 for s in recording.steps)


def test_keras_on_torch(tmp_path: Path) -> None:
    if find_spec("keras") is None:  # importing it here would choose its backend for all tests
        pytest.skip("needs keras")
    (recording,) = both("keras_fit.py", tmp_path).recordings
    assert len(recording.steps) >= 11  # 12 batches; a step is seen when the next pass begins
    assert len(recording.snapshots) >= 11
    assert {e.site.effect for e in recording.snapshots[0].ledger} >= {"activation", "weights"}
    assert len(recording.snapshots[0].parameters) == 6
