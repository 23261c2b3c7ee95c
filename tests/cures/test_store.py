"""A search that is killed goes on from its file and ends as one that was not."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cure_nets import mlp, training
from engine_nets import CURES, Hungry, make, state
from torch import nn

from undertow.cures import Training, Trial, cure, run
from undertow.cures.trials.store import Store
from undertow.cures.trials.task import Task
from undertow.foundation import InputError, OutputError

HERE = Path(__file__).parent
SCRIPT = """
import sys, time
import torch
torch.set_num_threads(1)
from engine_nets import make
from undertow.cures import cure
import undertow.cures.trials.store as store
put = store.Store.put
def slowly(self, task, trial):
    put(self, task, trial)
    time.sleep(0.15)
store.Store.put = slowly
asked = {"budget": "6x"} if sys.argv[2] == "race" else {"cures": ["relu", "adam"], "steps": 10}
cure(make, seeds=(0, 1), path=sys.argv[1], progress=False, **asked)
"""


def rows(path: Path) -> int:
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        (count,) = db.execute("SELECT count(*) FROM trials").fetchone()
        db.close()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return count


@pytest.mark.parametrize(
    ("how", "after"),
    [("listed", 3), pytest.param("race", 1, marks=pytest.mark.slow), pytest.param("race", 6, marks=pytest.mark.slow)],
)
def test_a_killed_search_goes_on_and_ends_as_one_that_was_not(tmp_path, how: str, after: int):
    asked = {"budget": "6x"} if how == "race" else {"cures": CURES, "steps": 10}
    path = tmp_path / "search.undertow"
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), how], env=environ)
    end = time.monotonic() + 60
    while rows(path) < after:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = rows(path)
    resumed = cure(counted, seeds=(0, 1), path=_asked(path), progress=False, **asked)
    whole = cure(make, seeds=(0, 1), progress=False, **asked)
    assert kept < rows(path)
    assert state(resumed) == state(whole)
    assert len(resumed.verdicts) > 0
    assert resumed.cost == pytest.approx(whole.cost)


made: list[int] = []


def counted(seed: int) -> Training:
    made.append(seed)
    return make(seed)


def _asked(path: Path) -> Path:
    """As if `counted` had begun it: the two differ in their source alone."""
    db = sqlite3.connect(path)
    db.execute("DELETE FROM question WHERE key = 'make'")
    db.commit()
    db.close()
    return path


def test_a_finished_search_is_read_and_not_run_again(tmp_path):
    path = tmp_path / "search.undertow"
    first = cure(counted, seeds=(0, 1), cures=CURES, path=path, steps=10)
    made.clear()
    second = cure(counted, seeds=(0, 1), cures=CURES, path=path, steps=10)
    assert state(second) == state(first)
    assert second["relu"].effects == first["relu"].effects
    assert set(made) == {0}  # to see that it is the same training, and for the patches: none is trained
    more = cure(counted, seeds=(0, 1, 2), cures=CURES, path=path, steps=10)
    assert more["relu"].afters[:2] == first["relu"].afters


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"make": lambda seed: make(seed)}, "make"),
        ({"steps": 12}, "steps"),
        ({"diagnose": False}, "diagnose"),
    ],
)
def test_a_file_of_another_question_is_refused(tmp_path, other, told):
    asked = {"make": make, "seeds": (0,), "cures": ["adam"], "steps": 10, "path": tmp_path / "search.undertow"}
    cure(**asked)
    before = rows(asked["path"])
    with pytest.raises(InputError, match=f"another question.*not the same: .*{told}"):
        cure(**{**asked, **other})
    assert rows(asked["path"]) == before


def test_what_make_calls_is_seen_by_its_first_losses(tmp_path):
    width = [8]

    def hidden(seed: int) -> Training:
        return training(nn.Sequential(nn.Linear(6, width[0]), nn.Tanh(), nn.Linear(width[0], 3)))

    path = tmp_path / "search.undertow"
    cure(hidden, seeds=(0,), cures=["adam"], steps=6, path=path)
    width[0] = 9
    with pytest.raises(InputError, match="model, first losses of seed 0"):
        cure(hidden, seeds=(0,), cures=["adam"], steps=6, path=path)


@pytest.mark.parametrize("content", [b"not a database at all, but a text of some length" * 40, None])
def test_a_file_that_is_none_of_ours_is_left_as_it_is(tmp_path, content: bytes | None):
    path = tmp_path / "search.undertow"
    if content is None:
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE mine (x)")
        db.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(InputError, match="a search file"):
        cure(make, seeds=(0,), cures=["adam"], steps=6, path=path)
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="search file"):
        cure(make, seeds=(0,), cures=["adam"], steps=6, path=tmp_path)


def test_a_trial_is_the_same_read_back(tmp_path):
    store = Store(tmp_path / "search.undertow", {"steps": "3"})
    sick = training(mlp(nn.Sigmoid, depth=12), batches=10)
    trials = [
        run(sick, 8, seed=1, points=3, cure=CURES[0], effects=True),
        run(sick, 8, seed=1, points=1),
        Trial(float("nan"), (1.5, float("inf")), "lost"),
        Trial(float("nan"), refused="does not apply"),
    ]
    assert trials[1].findings
    for seed, trial in enumerate(trials):
        store.put(Task(None, seed), trial)
    store.close()
    store = Store(tmp_path / "search.undertow", {"steps": "3"})
    for seed, trial in enumerate(trials):
        read = store.get(Task(None, seed))
        assert read is not None
        assert repr(read).replace(repr(read.seconds), "") == repr(trial).replace(repr(trial.seconds), "")
        assert [f.title + f.because for f in read.findings or ()] == [f.title + f.because for f in trial.findings or ()]
    assert store.get(Task(None, 99)) is None
    store.close()


def test_want_of_memory_is_not_kept(tmp_path):
    path = tmp_path / "search.undertow"
    verdict = cure(make, seeds=(0,), cures=[Hungry()], steps=6, path=path)["hungry"]
    assert "no memory" in verdict.reason
    assert rows(path) == 1


def test_a_full_disk_ends_the_keeping_and_not_the_search(tmp_path, monkeypatch):
    path = tmp_path / "search.undertow"
    store = Store(path, {})
    store._db.execute("PRAGMA max_page_count = 1")
    big = Trial(0.5, tuple(float(i) for i in range(20_000)))
    with pytest.warns(RuntimeWarning, match="stopped writing.*the search goes on"):
        store.put(Task(None, 0), big)
    store.put(Task(None, 1), big)
    assert store.failure is not None
    store.close()
