"""`undertow run` on scripts that train: what is found and said, that nothing changes, and every way to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from undertow.record.runfile import read

SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "110"}
UNDERTOW = (sys.executable, "-m", "undertow", "run")

DEEP = """
import sys, torch
from torch import nn
torch.manual_seed(0)
act = nn.Sigmoid if "--sick" in sys.argv else nn.ReLU
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[m for i in range(12) for m in (nn.Linear(16, 16), act())], nn.Linear(16, 2))
    def forward(self, x):
        if "--fail" in sys.argv: return torch.nn.functional.relu(x.missing)
        if "--shape" in sys.argv: x = torch.nn.functional.linear(x, torch.ones(3, 3))
        return self.layers(x)
net = Net()
for p in net.parameters():
    if p.ndim == 2 and act is nn.ReLU: nn.init.kaiming_normal_(p)
optimizer, criterion = torch.optim.SGD(net.parameters(), 0.05), nn.CrossEntropyLoss()
for step in range(30):
    x = torch.randn(32, 16)
    loss = criterion(net(x), (x[:, 0] > 0).long())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    print(loss.item().hex())
    if "--stop" in sys.argv and step == 9: raise KeyboardInterrupt
    if "--exit" in sys.argv and step == 9: sys.exit(5)
print(*[p.detach().double().sum().item().hex() for p in net.parameters()], torch.randn(1).item().hex())
"""


def plain(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=SOURCE)


def watched(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*UNDERTOW, *arguments], cwd=folder, capture_output=True, text=True, env=SOURCE)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    (tmp_path / "deep.py").write_text(DEEP)
    return tmp_path.resolve()


def test_a_sick_network_is_diagnosed_and_nothing_of_it_changed(deep: Path) -> None:
    alone, ran = plain(deep, "deep.py", "--sick"), watched(deep, "--budget", "all", "--strict", "deep.py", "--sick")
    assert ran.stdout == alone.stdout
    assert ran.returncode == 1
    first, *rest = ran.stderr.splitlines()
    assert first == "undertow watches deep.py and measures every step; the diagnosis comes at its end."
    said = "\n".join(rest)
    assert "30 steps of SGD, 30 of them measured whole." in said
    assert "CRITICAL" in said
    assert "Vanishing gradient" in said
    assert "Everything recorded is in run.undertow" in said
    (saved,) = read(deep / "run.undertow").recordings
    assert len(saved.steps) == len(saved.snapshots) == 30
    assert saved.name == "net"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"), [((), 0), (("--exit",), 5), (("--stop",), 130)], ids=["end", "exit", "interrupt"]
)
def test_every_ending_brings_the_diagnosis_and_keeps_the_status(deep: Path, arguments: tuple[str, ...], status: int):
    alone, ran = plain(deep, "deep.py", *arguments), watched(deep, "--strict", "deep.py", *arguments)
    assert ran.stdout == alone.stdout
    assert ran.returncode == status
    steps = 10 if arguments else 30
    assert f"{steps} steps of SGD" in ran.stderr
    assert "No fault was found" in ran.stderr
    assert ("KeyboardInterrupt" in ran.stderr) == (status == 130)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["--fail", "--shape"])
def test_the_programs_own_traceback_has_no_frames_of_ours(deep: Path, fault: str) -> None:
    """In a measured step torch's calls go through us; the traceback shows the program's way only."""
    alone, ran = plain(deep, "deep.py", fault), watched(deep, "deep.py", fault)
    assert ran.returncode == alone.returncode == 1
    assert "undertow/" not in ran.stderr.partition("undertow saw")[0]
    lines = [line for line in alone.stderr.splitlines() if "deep.py" in line or "Error" in line]
    assert [line for line in ran.stderr.splitlines() if "deep.py" in line or "Error" in line][1:-1] == lines
    assert ran.stderr.count("handle_torch_function") == 0
    assert ran.stderr.count("in linear") == alone.stderr.count("in linear")
    assert "there was no backward pass" in ran.stderr


@pytest.mark.slow
def test_a_signal_from_outside_ends_with_the_diagnosis(tmp_path: Path) -> None:
    program = DEEP.replace("range(30)", "range(10**9)").replace(".hex())\n    if", ".hex(), flush=True)\n    if", 1)
    (tmp_path / "endless.py").write_text(program)
    ran = subprocess.Popen(
        [*UNDERTOW, "endless.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=SOURCE
    )
    assert ran.stdout is not None
    for _ in range(20):
        ran.stdout.readline()
    time.sleep(0.1)
    ran.send_signal(signal.SIGINT)
    _, said = ran.communicate(timeout=60)
    assert ran.returncode == 130
    assert "KeyboardInterrupt" in said
    assert "steps of SGD" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import torch", "no nn.Module was called"),
        ("import torch\ntorch.nn.Linear(2, 2).eval()(torch.ones(1, 2))", "called Linear only in evaluation mode"),
        ("import torch\ntorch.nn.Linear(2, 2)(torch.ones(1, 2))", "called Linear in training mode, but there was no"),
        (
            "import torch\nw = torch.ones(2, requires_grad=True)\no = torch.optim.SGD([w], 0.1)\nw.sum().backward()\n"
            "o.step()",
            "saw 1 steps of an optimizer, but no module",
        ),
    ],
)
def test_without_training_one_line_says_what_was_seen(tmp_path: Path, program: str, says: str) -> None:
    (tmp_path / "p.py").write_text(program)
    ran = watched(tmp_path, "--strict", "p.py")
    assert ran.returncode == 0
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 2


WORKERS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
class Noise(Dataset):
    def __len__(self): return 24
    def __getitem__(self, i): return torch.full((4,), float(i)) / 24, i % 2
if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(Noise(), batch_size=4, shuffle=True, num_workers=2, multiprocessing_context="spawn")
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    print(loss.item().hex())
"""


@pytest.mark.slow
def test_a_loader_with_spawned_workers(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(WORKERS)
    alone, ran = plain(tmp_path, "p.py"), watched(tmp_path, "p.py")
    assert ran.stdout == alone.stdout
    assert ran.returncode == 0
    assert ran.stderr.count("undertow watches") == 1
    assert "6 steps of Adam" in ran.stderr


@pytest.mark.slow
def test_under_torchrun_the_first_rank_reports(tmp_path: Path) -> None:
    program = """
import torch, torch.distributed as dist
from torch import nn
dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
torch.manual_seed(dist.get_rank())
for _ in range(8):
    optimizer.zero_grad(); model(torch.randn(4, 4)).square().mean().backward(); optimizer.step()
dist.barrier()
dist.destroy_process_group()
"""
    (tmp_path / "p.py").write_text(program)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*launcher, "-m", "undertow", "run", "p.py"], cwd=tmp_path, capture_output=True, text=True, env=SOURCE
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("undertow watches") == 1
    assert ran.stderr.count("8 steps of SGD") == 1
