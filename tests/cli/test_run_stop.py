"""`undertow run --stop-on`: a doomed job ends early, a sound one as ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.record.runfile import read

SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "110"}
UNDERTOW = (sys.executable, "-m", "undertow", "run")
TRAIN = """
import sys, torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), float(sys.argv[1]))
try:
    for step in range(40):
        x = torch.randn(32, 8)
        try:
            loss = (model(x)[:, 0] - x.sum(1)).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        except Exception as error:
            print("held up", error)
finally:
    print("left at", step)
"""


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(TRAIN)
    return subprocess.run([*UNDERTOW, *arguments], cwd=folder, capture_output=True, text=True, env=SOURCE)


def test_a_doomed_job_ends_early(tmp_path: Path) -> None:
    found = ran(tmp_path, "--stop-on", "critical", "train.py", "10")
    assert found.returncode == 1
    last = int(found.stdout.split()[-1])
    assert "held up" not in found.stdout
    assert 0 < last < 20
    assert "undertow stopped train.py: Steps too long" in found.stderr
    assert "Traceback" not in found.stderr
    (saved,) = read(tmp_path / "run.undertow").recordings
    assert saved.last_step == last


@pytest.mark.slow
def test_a_sound_one_as_ever(tmp_path: Path) -> None:
    found = ran(tmp_path, "--stop-on", "warning", "train.py", "0.01")
    assert (found.returncode, found.stdout) == (0, "left at 39\n")


def test_a_note_ends_nothing(tmp_path: Path) -> None:
    found = ran(tmp_path, "--stop-on", "note", "train.py", "0.01")
    assert found.returncode == 2
    assert "critical or warning" in found.stderr
