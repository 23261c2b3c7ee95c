"""The same results from every backend, bit for bit; a trial that kills its process is that trial's result."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from engine_nets import CURES, Hungry, Killed, make, state

from undertow.cures import Trial, cure
from undertow.cures.trials.backends.pool import Pool, Seat
from undertow.cures.trials.bench import Bench, fresh
from undertow.cures.trials.task import Setting, Task
from undertow.foundation import InputError


@pytest.mark.slow
def test_a_race_and_its_proof_in_processes_are_those_of_this_process():
    pytest.importorskip("joblib")
    serial = cure(make, seeds=(0, 1), budget="6x")
    parallel = cure(make, seeds=(0, 1), budget="6x", backend="processes", workers=2)
    assert serial.raced
    assert serial.verdicts
    assert state(parallel) == state(serial)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a cluster on a busy machine takes its time to start
def test_a_search_on_a_ray_cluster_is_that_of_this_process():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = cure(make, seeds=(0, 1), budget="6x", backend="ray")
        listed = cure(make, seeds=(0, 1), cures=["adam", Killed()], backend="ray", steps=10)
    finally:
        ray.shutdown()
    assert state(found) == state(cure(make, seeds=(0, 1), budget="6x"))
    assert listed["change"].outcome == "harmed"
    assert "process that ran it died" in listed["change"].reason


@pytest.mark.slow
def test_a_process_that_dies_takes_its_own_trial_alone():
    pytest.importorskip("joblib")
    verdicts = cure(make, seeds=(0, 1), cures=[Killed(), *CURES], backend="processes", workers=2, steps=10)
    assert verdicts["change"].outcome == "harmed"
    assert "process that ran it died" in verdicts["change"].reason
    assert len(verdicts["adam"].afters) == len(verdicts["relu"].afters) == 2
    others = replace(verdicts, verdicts=tuple(v for v in verdicts if v.cure != "change"))
    assert state(others) == state(cure(make, seeds=(0, 1), cures=CURES, steps=10))


SCRIPT = """
import engine_nets
WIDTH = 3
def make(seed):
    assert WIDTH == 3
    return engine_nets.make(seed)
"""


@pytest.mark.slow
def test_functions_of_a_file_that_nobody_can_import_go_along(tmp_path):
    pytest.importorskip("joblib")
    path = tmp_path / "users_script.py"
    path.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location("users_script", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["users_script"] = module
    spec.loader.exec_module(module)
    try:
        verdicts = cure(module.make, seeds=(0,), cures=["adam"], steps=6, backend="processes", workers=1)
        assert state(verdicts) == state(cure(module.make, seeds=(0,), cures=["adam"], steps=6))
    finally:
        del sys.modules["users_script"]
    assert verdicts.control_reason == ""


def test_what_cannot_leave_the_process_is_one_clear_error():
    pytest.importorskip("joblib")
    lock = threading.Lock()

    def locked(seed):
        with lock:
            return make(seed)

    with pytest.raises(InputError, match=r"no other process can be given.*serial"):
        cure(locked, seeds=(0,), cures=["adam"], steps=6, backend="processes", workers=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "threads"}, "global random generators"),
        ({"backend": "dask"}, "one of serial, processes, ray"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 2}, "2 workers for the serial backend"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        cure(make, **arguments)


def test_a_race_goes_on_where_it_rests_and_begins_again_where_it_does_not():
    setting = Setting(make, 12, True, 1, 0)
    bench, (adam, relu) = Bench(setting), CURES[::-1]
    lane = Task(adam, 5, 4)
    alive = {lane.key[:2]}
    rested = [bench.do(Task(adam, 5, until), alive) for until in (4, 8)]
    assert bench.resting
    bench.do(Task(relu, 5, 4), ())
    assert not bench.resting
    again = Bench(setting).do(Task(adam, 5, 8))
    assert (again.losses, again.metric) == (rested[1].losses, rested[1].metric)
    assert rested[1].losses[:4] == rested[0].losses


def test_a_trial_that_lacks_memory_is_tried_again_without_those_that_rest():
    bench = Bench(Setting(make, 12, True, 1, 0))
    lane = Task(CURES[0], 5, 4)
    bench.do(lane, {lane.key[:2]})
    trial = bench.do(Task(Hungry(), 5), {lane.key[:2]})
    assert trial.transient
    assert "no memory" in trial.reason
    assert not bench.resting


class _Here(Seat):
    """A worker in a thread of its own, which does nothing but wait."""

    def __init__(self, log, number) -> None:
        super().__init__()
        self.pool, self.log, self.number = ThreadPoolExecutor(1), log, number

    def submit(self, call: bytes):
        task, _ = pickle.loads(call)
        self.log.append((self.number, task.label, task.until))
        return self.pool.submit(self._wait, task)

    def _wait(self, task):
        time.sleep(0.02)
        return Trial(0.5, (1.0,) * task.until)

    def kill(self) -> None:
        self.pool.shutdown()


def test_a_worker_goes_on_with_what_rests_with_it_and_none_waits():
    pytest.importorskip("joblib")
    log: list[tuple[int, str, int]] = []
    pool = Pool(Setting(make, 12, True, 1, 0), 2, lambda number, setting: _Here(log, number))
    cures = [None, *CURES]
    first = [Task(change, 5, 4) for change in cures]
    alive = {task.key[:2] for task in first}
    assert {t.key for t, _ in pool.run(first, alive, lambda *_: None)} == {t.key for t in first}
    homes = {label: number for number, label, _ in log}
    assert set(homes.values()) == {0, 1}
    for label in homes:  # one alone goes on at home, whoever else is idle
        log.clear()
        (change,) = (c for c in cures if (c.label if c else "") == label)
        list(pool.run([Task(change, 5, 6)], alive, lambda *_: None))
        assert log == [(homes[label], label, 6)]
    log.clear()
    shared = max(homes.values(), key=list(homes.values()).count)
    both = [c for c in cures if homes[c.label if c else ""] == shared]
    list(pool.run([Task(c, 5, 8) for c in both], alive, lambda *_: None))
    assert {number for number, *_ in log} == {0, 1}  # who has nothing of its own does not wait: it begins one again
    pool.close()


def test_the_training_of_a_seed_is_drawn_from_that_seed():
    one, other = (next(fresh(make, 3).model.parameters()) for _ in range(2))
    assert torch.equal(one, other)
