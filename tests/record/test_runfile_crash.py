"""However a run ends, its file opens: killed, out of disk, forked, left without a word."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from made import Maker

from undertow.record import Recording
from undertow.record.runfile import RunFile, read, writer

SLOW = pytest.mark.slow
HERE = Path(__file__).parent
SOURCE = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])}
BEGIN = """
import os, signal, sys, time
from made import Maker
from undertow.record import Recording
from undertow.record.runfile import RunFile
file, recording, maker = RunFile(sys.argv[1]), Recording(), Maker(sites=40)
recording.sinks.append(file)
"""
TRAIN = """
step = 0
while True:
    maker.train(recording, step, step + 1, every=3)
    print(step, time.monotonic(), flush=True)
    step += 1
    time.sleep(0.002)
"""


def started(path, program):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + program, str(path)], stdout=subprocess.PIPE, text=True, env=SOURCE
    )


def ran(path, program):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program, str(path)], capture_output=True, text=True, env=SOURCE, timeout=120
    )


def whole(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("seconds", [2.5, *(pytest.param(0.3 * k, marks=SLOW) for k in range(1, 16))])
def test_a_killed_run_holds_everything_up_to_two_seconds_before(tmp_path, seconds):
    path = tmp_path / "run.undertow"
    with started(path, TRAIN) as child:
        assert child.stdout
        child.stdout.readline()
        time.sleep(seconds + random.random() / 10)
        killed = time.monotonic()
        child.send_signal(signal.SIGKILL)
        lines = [line.split() for line in child.stdout if line.endswith("\n")]
    due = [int(step) for step, at in lines if float(at) < killed - 2]
    saved = read(path)  # with the log that the killed process left beside it
    steps = [s.step for r in saved.recordings for s in r.steps]
    assert saved.damage == []
    assert "ended" not in saved.facts
    assert steps == list(range(len(steps)))
    assert not due or steps[-1] >= due[-1]
    assert all(len(s.ledger) == 40 and len(s.parameters) == 40 for r in saved.recordings for s in r.snapshots)
    assert whole(path)
    assert len(read(path).recordings) == len(saved.recordings)  # also after another program opened it


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("", marks=SLOW),
        "sys.exit(3)",
        pytest.param("raise ValueError('mine')", marks=SLOW),
        pytest.param("a thread", marks=SLOW),
    ],
)
def test_a_program_that_ends_without_closing_leaves_a_finished_file(tmp_path, end):
    path = tmp_path / "run.undertow"
    program = f"maker.train(recording, 0, 30)\n{end}"
    if end == "a thread":  # that outlives the main one
        program = "import threading\nthreading.Thread(target=maker.train, args=(recording, 0, 30)).start()"
    done = ran(path, program)
    assert done.returncode == {"sys.exit(3)": 3, "raise ValueError('mine')": 1}.get(end, 0)
    assert "undertow" not in done.stderr.replace(str(path), "")
    saved = read(path)
    assert len(saved.recordings[0].steps) == 30
    assert "ended" in saved.facts
    assert [p.name for p in tmp_path.iterdir()] == ["run.undertow"]


LIMITED = """
import resource, warnings
warnings.simplefilter("default")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
step = 0
while file.failure is None or step % 10:
    maker.train(recording, step, step + 1, every=2)
    step += 1
    time.sleep(0.02)
print(len(recording.steps), type(file.failure).__name__, recording.not_observed["the run file"].reason)
file.close()
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_stops_the_recording_not_the_training(tmp_path):
    path = tmp_path / "run.undertow"
    done = ran(path, LIMITED)
    assert done.returncode == 0
    steps, kind, reason = done.stdout.split(" ", 2)
    assert kind == "OperationalError"
    assert "the training goes on" in reason
    assert done.stderr.count("RuntimeWarning: undertow stopped writing") == 1
    assert "Traceback" not in done.stderr
    found = read(path).recordings[0]
    assert 0 < len(found.steps) < int(steps)
    assert whole(path)


@pytest.fixture
def small_disk():
    folder = Path(tempfile.mkdtemp(prefix="undertow-disk-"))  # not in tmp_path, which pytest could not clean if killed
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_stops_the_recording_not_the_training(small_disk, monkeypatch):
    monkeypatch.setattr(writer, "PERIOD", 0.02)
    recording, maker = Recording(), Maker(sites=60)
    with closing(RunFile(small_disk / "run.undertow")) as file:
        recording.sinks.append(file)
        step = 0
        while file.failure is None:
            maker.train(recording, step, step + 1)
            time.sleep(0.005)
            step += 1
        with pytest.warns(RuntimeWarning, match="full"):
            maker.train(recording, step, step + 1)
        maker.train(recording, step + 1, step + 10)
    assert len(recording.steps) == step + 10
    assert "full" in recording.not_observed["the run file"].reason
    saved = read(file.path)
    assert saved.damage == []
    kept = saved.recordings[0].steps
    assert kept == recording.steps[: len(kept)]
    assert 0 < len(kept) < step


def test_a_disk_that_is_full_from_the_start_is_refused_at_once(small_disk):
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
    with pytest.raises(OSError, match="the run file"):
        RunFile(small_disk / "run.undertow")
    assert not (small_disk / "run.undertow").exists()


FORKING = """
import sqlite3, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: of forks beside threads
from undertow.record.runfile import writer
writer.PERIOD = 0.02  # so that forks meet a flush
for step in range(0, 36, 3):
    maker.train(recording, step, step + 3)
    child = os.fork()
    if not child:
        maker.train(recording, 1000, 1003)
        file.close()
        sqlite3.connect(":memory:").execute("SELECT 1").fetchone()  # a data set of the user's may be one
        LEAVE(0)
    end = time.monotonic() + 10
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            raise TimeoutError("the child hangs")
        time.sleep(0.001)
assert file.failure is None, file.failure
file.close()
from made import same
from undertow.record.runfile import read
assert same(read(file.path).recordings[0], recording)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("leave", ["os._exit", pytest.param("sys.exit", marks=SLOW)])
def test_a_forked_child_writes_nothing_and_does_not_hang(tmp_path, leave):
    path = tmp_path / "run.undertow"
    done = ran(path, FORKING.replace("LEAVE", leave))
    assert (done.returncode, done.stderr) == (0, "")
    assert whole(path)


@pytest.mark.parametrize("name", ["_connected", "_put", "_make_single"])
def test_a_fork_waits_wherever_the_thread_is_inside_of_sqlite(tmp_path, monkeypatch, name):
    inside, does = threading.Event(), getattr(writer, name)

    def slow(*arguments):
        if threading.current_thread() is threading.main_thread():
            return does(*arguments)
        inside.set()
        time.sleep(0.2)
        try:
            return does(*arguments)
        finally:
            inside.clear()

    monkeypatch.setattr(writer, name, slow)
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    file = RunFile(tmp_path / "run.undertow")
    closing_thread = threading.Thread(target=lambda: (time.sleep(0.1), file.close()))
    closing_thread.start()
    assert inside.wait(10)
    writer._before_fork()
    try:
        assert not inside.is_set()
    finally:
        writer._after_fork()
        closing_thread.join()
    assert file.failure is None


@pytest.mark.slow
def test_two_processes_that_want_one_name_get_two_files(tmp_path):
    path = tmp_path / "run.undertow"
    program = "maker.train(recording, 0, 5)\nfile.close()\nprint(file.path.name)"
    with started(path, program) as one, started(path, program) as two:
        assert one.stdout
        assert two.stdout
        names = {one.stdout.read().strip(), two.stdout.read().strip()}
    assert names == {"run.undertow", "run-2.undertow"}
    assert all(len(read(tmp_path / n).recordings[0].steps) == 5 for n in names)


WORKERS = """
import sys, torch, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from torch import nn
from torch.utils.data import DataLoader, Dataset
from undertow.diagnosis import load, watch
class Squares(Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.full((4,), float(i) / 64)
if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, path=sys.argv[1]) as run:
        for epoch in range(2):
            for x in DataLoader(Squares(), 16, num_workers=2, multiprocessing_context=sys.argv[2]):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
    assert repr(load(run.path).diagnose()) == repr(run.diagnose())
    seen = load(run.path).recording
    print(len(seen.steps) + seen.unread_steps)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader_leave_the_file_alone(tmp_path, method):
    (tmp_path / "train.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, tmp_path / "train.py", tmp_path / "run.undertow", method],
        capture_output=True,
        text=True,
        env=SOURCE,
        timeout=240,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n", "")
    assert whole(tmp_path / "run.undertow")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.undertow", "train.py"]
