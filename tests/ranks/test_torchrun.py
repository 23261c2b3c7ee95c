"""A user's own script under torchrun, as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.record.runfile import read

SCRIPT = """
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
model = nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
torch.manual_seed(1 + rank)
for step in range(30):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 6)), torch.randint(3, (8,)))
    loss.backward()
    optimizer.step()
print("rank", rank, "is done")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_a_ddp_script_is_watched_on_all_ranks_and_reported_once(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "undertow", "run", "train.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "UNDERTOW_LANG": "en"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if "done" in line) == ["rank 0 is done", "rank 1 is done"]
    assert done.stderr.count("undertow watches train.py") == 1
    [saved] = read(tmp_path / "run.undertow").recordings
    assert len(saved.steps) == 30
    assert "ranks" not in saved.not_observed
    assert [e.site.name for e in saved.snapshots[-1].ledger] == ["0#0", "1#0", "2#0"]
    assert list(saved.snapshots[-1].parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    measured = saved.snapshots[3]
    assert (measured.stage.rank, measured.stage.ranks) == (0, 2)
    assert measured.ranks is not None
    assert measured.ranks.samples == (8, 8)
    assert all(spread.ratio == 1 for spread in measured.ranks.weights.values())
    assert len(saved.steps[3].local_norms) == 2
