"""`undertow check --unchanged`: identical, different, not repeatable, failing, without training: told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.cli.unchanged import Ran, difference

PROGRAM = """
import sys, time, random, torch
from torch import nn
if "--clock" in sys.argv: torch.manual_seed(time.time_ns() % 2**31)
if "--die" in sys.argv: raise OSError("no data")
if "--idle" in sys.argv: sys.exit()
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Sigmoid(), nn.Dropout(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
for step in range(12):
    x = torch.randn(16, 8) * random.random()
    optimizer.zero_grad(); model(x).square().mean().backward(); optimizer.step()
    if step == 3 and "--notices" in sys.argv and model._forward_pre_hooks:
        with torch.no_grad(): model[4].weight[0, 0] += 1e-7
if "--prints" in sys.argv: print(bool(model._forward_pre_hooks))
"""


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    (folder / "p.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "undertow", "check", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (
            (),
            0,
            "Weights after each of 12 steps, random state, buffers and output of p.py do not change while 12 steps",
        ),
        (("--notices",), 1, "Watched: NOT the same. They differ first in 0.weight after step 4 (with"),
        (("--prints",), 1, "The weights agree, but not what was printed."),
        (("--clock",), 3, "p.py is not repeatable by itself"),
        (("--die",), 3, "p.py failed by itself with status 1: OSError: no data"),
        (("--idle",), 2, "made no step of an optimizer"),
    ],
)
def test_what_is_the_same_and_what_is_not(tmp_path: Path, arguments: tuple[str, ...], status: int, says: str) -> None:
    ran = check(tmp_path, "--unchanged", "p.py", *arguments)
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert says in ran.stdout


@pytest.mark.slow
def test_the_runs_end_after_so_many_steps(tmp_path: Path) -> None:
    assert "p.py alone: 5 optimizer steps" in check(tmp_path, "--unchanged", "--steps", "5", "p.py").stdout


def test_what_to_check_must_be_said(tmp_path: Path) -> None:
    ran = check(tmp_path, "p.py")
    assert ran.returncode == 2
    assert "undertow check --unchanged p.py" in ran.stderr


A = Ran(0, [(0, {"w": "1", "b": "2"}, "r")], [("BatchNorm.mean", "3")], "", "", 0)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (A, ""),
        (Ran(0, [(0, {"w": "1", "b": "9"}, "r")], A.buffers, "", "", 0), "first in b after step 0 (with 0 more of 2"),
        (Ran(0, [(0, {"w": "1", "b": "2"}, "x")], A.buffers, "", "", 0), "random state differs after step 0"),
        (Ran(0, [*A.steps, *A.steps], A.buffers, "", "", 0), "One run made 1 steps, the other 2"),
        (Ran(0, A.steps, [("BatchNorm.mean", "4")], "", "", 0), "buffer BatchNorm.mean differs"),
        (Ran(1, A.steps, A.buffers, "", "", 0), "status 0, the other with 1"),
    ],
)
def test_the_first_difference(other: Ran, says: str) -> None:
    assert says in difference(A, other)
    assert bool(difference(A, other)) == bool(says)
