"""The run file holds what the recordings hold: while they grow, when they thin, and whoever reads at the time."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from made import Maker, same

from undertow.foundation import InputError, OutputError, warn
from undertow.record import LossReading, NotObserved, Origin, Recording, StepReading, thinning
from undertow.record.description import Description, ModuleFact, ParameterFact
from undertow.record.runfile import RunFile, read, schema, writer
from undertow.record.runfile.environment import HIDDEN, command, variables


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.undertow"


def rows(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def written(path, recording, **others):
    file = RunFile(path)
    recording.sinks.append(file)
    for name, value in others.items():
        setattr(recording, name, value)
    return file


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_what_was_recorded_is_read_back(path):
    recording = Recording()
    with closing(written(path, recording)):
        Maker().train(recording, 0, 8)
        recording.add(LossReading(3, float("nan")))
        recording.add(NotObserved("lstm", "fused"))
        recording.add(Origin(2, "a", "log", "backward", "inf", "net.py:3", (Maker().reading(),)))
        recording.add(StepReading(8, float("inf"), 0.1, 1, float("nan"), local_norms=(1.0, float("nan"))))
        recording.overhead, recording.optimizers = 0.013, ["Adam", "SGD"]
    saved = read(path)
    assert (saved.path, saved.damage) == (path, [])
    assert same(saved.recordings[0], recording)
    assert {"started", "ended", "torch", "command", "threads"} <= saved.facts.keys()
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no log is left beside a finished file


def test_a_thinned_recording_and_its_file_stay_the_same(path, monkeypatch):
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    monkeypatch.setattr("undertow.record.recording.MOST_READINGS", 256)
    monkeypatch.setattr("undertow.record.recording.MOST_SNAPSHOTS", 40)
    recording, maker = Recording(), Maker(sites=2)
    with closing(written(path, recording)):
        for first in range(0, 1500, 300):
            maker.train(recording, first, first + 300, every=3)
            until(lambda: rows(path, "SELECT count(*) FROM snapshots")[0][0] == len(recording.snapshots))
    assert recording.thinned_steps > 0
    assert recording.thinned_snapshots > 0
    assert same(read(path).recordings[0], recording)
    orphans = f"SELECT count(*) FROM entries WHERE id / {schema.PLACES} NOT IN (SELECT id FROM snapshots)"
    assert rows(path, orphans) == [(0,)]


def test_several_models_share_a_file(path):
    generator, critic, twin = Recording(name="generator"), Recording(name="critic"), Recording(name="critic")
    with closing(RunFile(path)) as file:
        for seed, recording in enumerate((generator, critic, twin)):
            recording.sinks.append(file)
            Maker(seed=seed).train(recording, 0, 3)
    saved = read(path).recordings
    assert [r.name for r in saved] == ["generator", "critic", "critic-2"]
    assert all(map(same, saved, (generator, critic, twin)))


def test_a_person_can_ask_in_sql(path):
    recording = Recording()
    description = Description(
        (ModuleFact("", "Net"), ModuleFact("layers.0", "Linear", "in_features=3")),
        (ParameterFact("layers.0.weight", None, "float32", "cpu", True),),
    )
    with closing(RunFile(path)) as file:
        file.follow(recording, description)
        Maker().train(recording, 0, 4)
        known = ParameterFact("layers.0.weight", (3, 2), "float32", "cpu", True)
        file.follow(recording, Description(description.modules, (known,)))  # a lazy module has learnt its shape
    snapshot = recording.snapshots[2]
    asked = "SELECT rms, zeros FROM readings WHERE step = 2 AND what = '{}' AND name = '{}'"
    forward = snapshot.ledger.entries[3].forward
    assert rows(path, asked.format("forward", "layers.3#0")) == [(forward.rms, forward.zeros)]
    update = snapshot.parameters["layers.2.bias"].update
    assert update
    assert rows(path, asked.format("update", "layers.2.bias")) == [(update.rms, update.zeros)]
    assert rows(path, asked.format("input", "input"))[0][0] == snapshot.inputs.rms
    account = rows(path, "SELECT site, previous, factor, backward_rms FROM ledger WHERE step = 2 ORDER BY position")
    told = [(e.site.name, e.previous.name if e.previous else None, e.factor, e.backward_rms) for e in snapshot.ledger]
    assert account == told
    assert rows(path, "SELECT name, kind FROM modules") == [("", "Net"), ("layers.0", "Linear")]
    assert rows(path, "SELECT shape FROM parameters WHERE name = 'layers.0.weight'") == [("[3,2]",)]
    assert rows(path, "PRAGMA application_id") == [(schema.APPLICATION,)]


def test_a_run_is_never_overwritten(path):
    names = []
    for _ in range(3):
        recording = Recording()
        with closing(written(path, recording)) as file:
            recording.add(StepReading(len(names), 1.0, 0.1))
        names.append(file.path.name)
    assert names == ["run.undertow", "run-2.undertow", "run-3.undertow"]
    assert [read(path.with_name(n)).recordings[0].steps[0].step for n in names] == [0, 1, 2]


def test_missing_folders_are_made(tmp_path):
    with closing(RunFile(tmp_path / "runs" / "today" / "a.undertow")) as file:
        pass
    assert read(file.path).recordings == []


@pytest.mark.parametrize("kind", ["a folder", "below a file", "a name too long", "a null byte"])
def test_a_file_that_cannot_be_made_is_refused_at_once(tmp_path, kind):
    (tmp_path / "file").write_text("mine")
    where = {
        "a folder": tmp_path,
        "below a file": tmp_path / "file" / "run.undertow",
        "a name too long": tmp_path / ("x" * 300),
        "a null byte": f"{tmp_path}/a\0b",
    }[kind]
    with pytest.raises(OutputError, match=r'path="run\.undertow"'):
        RunFile(where)
    assert (tmp_path / "file").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root can't write to")
def test_a_read_only_folder_is_refused_at_once():
    with pytest.raises(OutputError, match="the run file"):
        RunFile("/proc/self/run.undertow")


def test_adding_returns_at_once(path):
    """What the training pays for a step is a look into a dictionary; 50 µs would be a lock or a disk."""
    recording, readings = Recording(), [StepReading(n, 1.0, 0.1) for n in range(2000)]
    with closing(written(path, recording)):
        recording.add(readings[0])
        costs = []
        for reading in readings:
            begin = time.perf_counter()
            recording.add(reading)
            costs.append(time.perf_counter() - begin)
    assert sorted(costs)[len(costs) // 2] < 50e-6


def test_another_program_may_read_and_lock_the_file_meanwhile(path, monkeypatch):
    monkeypatch.setattr(writer, "PERIOD", 0.05)
    recording, maker = Recording(), Maker()
    with closing(written(path, recording)) as file:
        maker.train(recording, 0, 3)
        until(lambda: len(read(path).recordings) == 1 and len(read(path).recordings[0].steps) == 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            maker.train(recording, 3, 6)
            time.sleep(0.2)
            other.execute("ROLLBACK")
        until(lambda: len(read(path).recordings[0].steps) == 6)
        assert file.failure is None
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM steps").fetchone() == (6,)
            maker.train(recording, 6, 9)
            until(lambda: len(read(path).recordings[0].steps) == 9)
            assert reader.execute("SELECT count(*) FROM steps").fetchone() == (6,)  # as it was when it began to read
    assert same(read(path).recordings[0], recording)


@pytest.mark.slow
def test_another_process_reads_while_this_one_writes(path, monkeypatch):
    monkeypatch.setattr(writer, "PERIOD", 0.05)
    program = (
        "import sys; from undertow.record.runfile import read\n"
        "seen = []\n"
        "while not seen or seen[-1] < 40:\n"
        "    saved = read(sys.argv[1]); found = saved.recordings[0]\n"
        "    assert not saved.damage, saved.damage\n"
        "    assert [s.step for s in found.steps] == list(range(len(found.steps)))\n"
        "    assert all(len(s.ledger) == 6 for s in found.snapshots)\n"
        "    seen.append(len(found.steps))\n"
        "print(len(set(seen)))"
    )
    recording, maker = Recording(), Maker()
    with closing(written(path, recording)):
        maker.train(recording, 0, 1)
        until(lambda: len(read(path).recordings) == 1)
        command = [sys.executable, "-c", program, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            for number in range(1, 40):
                maker.train(recording, number, number + 1)
                time.sleep(0.1)
            told, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert int(told) >= 1


def test_an_error_while_writing_is_said_once_and_the_recording_goes_on(path, monkeypatch):
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    recording, maker = Recording(), Maker()
    file = written(path, recording)
    maker.train(recording, 0, 3)
    until(lambda: rows(path, "SELECT count(*) FROM steps") == [(3,)])
    monkeypatch.setattr(writer.RunFile, "_flush", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    until(lambda: file.failure is not None)
    with pytest.warns(RuntimeWarning, match="stopped writing .*No space left.* the training goes on"):
        recording.add(maker.step(3))
    maker.train(recording, 4, 6)
    file.close()
    assert len(recording.steps) == 6
    assert "No space left" in recording.not_observed["the run file"].reason
    assert len(read(path).recordings[0].steps) == 3


def test_where_warnings_are_errors_ours_is_printed(path, capsys, monkeypatch):
    monkeypatch.setattr(warn, "told_instead", lambda message: print(message, file=sys.stderr))
    recording = Recording()
    file = written(path, recording)
    recording.add(StepReading(0, 1.0, 0.1))
    file.failure = OSError("disk on fire")
    recording.add(StepReading(1, 1.0, 0.1))  # pytest makes errors of warnings
    assert "disk on fire" in capsys.readouterr().err
    assert len(recording.steps) == 2
    file.close()


def test_closing_twice_is_closing_once(path):
    file = RunFile(path)
    file.close()
    before = path.read_bytes()
    file.close()
    assert path.read_bytes() == before
    assert not [t for t in os.listdir(path.parent) if t != path.name]


def test_a_file_of_a_newer_version_and_one_that_is_none_are_refused(path, tmp_path):
    RunFile(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(InputError, match=r"version 2.*pip install --upgrade undertow"):
        read(path)
    for name, content in (("text", b"hello " * 1000), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="a run file, as"):
            read(tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE steps (a)")
        db.commit()
    for wrong in ("other.db", "nothing", "."):
        with pytest.raises(InputError, match="a run file, as"):
            read(tmp_path / wrong)


def damaged(path, tmp_path, change):
    broken = tmp_path / "broken.undertow"
    broken.write_bytes(change(bytearray(path.read_bytes())))
    return broken


def test_of_a_cut_file_what_is_left_is_read(path, tmp_path):
    recording = Recording()
    with closing(written(path, recording)):
        Maker(sites=40).train(recording, 0, 30)
    size = path.stat().st_size
    whole = {s.step: repr(s.ledger) for s in recording.snapshots}
    saved = read(damaged(path, tmp_path, lambda b: b[: size * 6 // 10]))
    assert saved.damage
    found = saved.recordings[0]
    assert 0 < len(found.snapshots) < len(recording.snapshots)
    assert all(repr(s.ledger) == whole[s.step] for s in found.snapshots)
    told = found.not_observed["the run file"].reason
    assert f"{len(recording.snapshots) - len(found.snapshots)} of 30 measured steps" in told


def test_whatever_page_is_destroyed_the_rest_is_read_or_refused_in_one_line(path, tmp_path):
    recording = Recording()
    with closing(written(path, recording)):
        Maker(sites=12).train(recording, 0, 12)
    page = 4096
    survived = 0
    for at in range(0, path.stat().st_size, page):
        for filling in (b"\xff", b"\0", b"\x0d\x05"):

            def change(b, at=at, filling=filling):
                b[at : at + page] = (filling * page)[:page]
                return b

            with suppress(InputError):
                saved = read(damaged(path, tmp_path, change))
                survived += bool(saved.recordings and saved.recordings[0].snapshots)
    assert survived > 10


def test_secrets_are_hidden():
    found = variables({"CUDA_VISIBLE_DEVICES": "0", "TORCH_HUB_TOKEN": "x", "HOME": "/root", "RANK": "3"})
    assert found == {"CUDA_VISIBLE_DEVICES": "0", "TORCH_HUB_TOKEN": HIDDEN, "RANK": "3"}
    line = command(["python", "train.py", "--lr", "0.1", "--api-key=abc", "--password", "p w", "--name", "a b"])
    assert line == f"python train.py --lr 0.1 '--api-key={HIDDEN}' --password '{HIDDEN}' --name 'a b'"


@pytest.mark.slow
def test_twelve_hours_of_a_thousand_sites_stay_under_a_gigabyte(path, tmp_path, monkeypatch):
    """The bytes of a measured step are taken from a real file, their number from twelve hours in fast motion."""
    monkeypatch.setattr(writer, "PERIOD", 0.02)
    large, recording = Maker(sites=1000), Recording()
    with closing(RunFile(tmp_path / "large.undertow")) as file:
        recording.sinks.append(file)
        for number in range(6):
            recording.add(large.snapshot(number))
    a_snapshot = file.path.stat().st_size / 6

    steps, held, largest = 12 * 3600 * 10, 0, 0
    recording, maker = Recording(), Maker(sites=2)
    with closing(written(path, recording)):
        for number in range(steps):
            recording.add(maker.step(number))
            if number % 20 == 0:
                recording.add(maker.snapshot(number))
                held = max(held, len(recording.snapshots))
            if number % 4_000 == 0:
                largest = max(largest, sum(p.stat().st_size for p in tmp_path.glob("run.undertow*")))
    assert recording.steps_seen == steps
    assert recording.steps_measured == steps // 20
    assert held <= thinning.MOST_SNAPSHOTS + 1
    assert largest + 2 * held * a_snapshot < 1e9  # the log may hold all of it once more
    assert same(read(path).recordings[0], recording)
