"""What a long run keeps: bounded, with its beginning, its end, its turns and the envelope of its curves."""

import math
import random

import pytest

from undertow.record import Ledger, LossReading, Recording, Snapshot, StepReading
from undertow.record.thinning import FIRST, GROWTH, LAST, MOST_SNAPSHOTS, NEAR, Turns, thin_readings

EMPTY = Ledger(())


def step(number: int, norm: float = 1.0, optimizer: int = 0, skipped: bool = False) -> StepReading:
    return StepReading(number, norm, 0.1, optimizer, skipped=skipped)


def run(steps: int, norms=lambda _: 1.0, every: int = 1) -> Recording:
    recording = Recording()
    for number in range(steps):
        recording.add(step(number, norms(number)))
        if number % every == 0:
            recording.add(Snapshot(number, EMPTY, 8))
    return recording


def test_a_short_run_keeps_everything():
    recording = run(MOST_SNAPSHOTS)
    assert [s.step for s in recording.snapshots] == list(range(MOST_SNAPSHOTS))
    assert (recording.steps_seen, recording.steps_measured) == (MOST_SNAPSHOTS, MOST_SNAPSHOTS)
    assert (recording.thinned_steps, recording.thinned_snapshots) == (0, 0)


def test_a_long_run_keeps_its_ends_and_a_geometric_row_between():
    length = 30_000
    recording = run(length)
    kept = [s.step for s in recording.snapshots]
    assert len(kept) <= MOST_SNAPSHOTS
    assert kept == sorted(set(kept))
    assert kept[:FIRST] == list(range(FIRST))
    assert kept[-LAST:] == list(range(length - LAST, length))
    assert all(later <= GROWTH * earlier + 1 for earlier, later in zip(kept[FIRST:], kept[FIRST + 1 :], strict=False))
    assert recording.steps_measured == length


def test_the_middle_stays_the_same_however_often_it_is_thinned():
    early, late = run(3_000), run(30_000)
    middle = {s.step for s in early.snapshots[FIRST:] if s.step < 2_000}
    assert middle <= {s.step for s in late.snapshots}


@pytest.mark.parametrize("turn", [math.nan, math.inf, 1e3, 1e-3])
def test_what_was_measured_near_a_turn_stays(turn):
    recording = run(20_000, lambda n: turn if n == 7_777 else 1.0)
    kept = {s.step for s in recording.snapshots}
    assert set(range(7_777 - NEAR, 7_777 + NEAR)) <= kept


def test_a_state_that_lasts_is_one_turn():
    recording = run(20_000, lambda n: 1.0 if n < 5_000 else math.nan)
    assert recording._turns.steps == (5_000,)
    assert {4_998, 4_999, 5_000, 5_001} <= {s.step for s in recording.snapshots}


def test_turns_are_told_apart_by_optimizer_and_only_so_many_stay():
    turns = Turns()
    for number in range(100):
        turns.see(number, 1.0, line=0)
        turns.see(number, 1e6, line=1)  # large from the start: no turn
    assert turns.steps == ()
    for number in range(100, 140):
        turns.see(number, 1.0, odd=number % 2 == 0)
    assert turns.steps == (100, 102, 104, 106, 132, 134, 136, 138)


def test_steps_and_losses_are_bounded_and_keep_the_envelope(monkeypatch):
    monkeypatch.setattr("undertow.record.recording.MOST_READINGS", 2048)
    rng = random.Random(3)
    norms = [rng.lognormvariate(0, 1) for _ in range(10_000)]
    norms[3_333], norms[6_666] = 1e6, math.nan
    recording = Recording()
    for number, norm in enumerate(norms):
        recording.add(step(number, norm, optimizer=number % 2))
        recording.add(LossReading(number, norm))
    for kept, value in ((recording.steps, lambda s: s.gradient_norm), (recording.losses, lambda s: s.value)):
        assert len(kept) < 2048
        assert kept[0].step == 0
        assert kept[-1].step == len(norms) - 1
        sizes = [value(r) for r in kept]
        assert max(s for s in sizes if math.isfinite(s)) == 1e6
        assert min(s for s in sizes if math.isfinite(s)) == min(n for n in norms if math.isfinite(n))
        assert [r.step for r in kept if math.isnan(value(r))] == [6_666]
    assert recording.steps_seen == len(norms)


def test_what_was_let_go_is_counted(monkeypatch):
    monkeypatch.setattr("undertow.record.recording.MOST_READINGS", 256)
    recording = Recording()
    for number in range(3_000):
        skipped = number % 5 == 0
        for optimizer in range(2):  # two readings of one step
            recording.add(StepReading(number, 1.0, 0.1, optimizer, skipped=skipped, carried=number < 2_000))
    recording.unread_steps = 7
    assert recording.thinned_steps > 2_500
    assert (recording.steps_read, recording.steps_seen) == (3_000, 3_007)
    assert [recording.marked(m) for m in ("skipped", "carried", "changed_late")] == [600, 2_000, 0]


def test_thinning_keeps_of_each_line_the_first_last_least_greatest_and_strange():
    readings = [step(n, float(n % 7), skipped=n in (10, 11)) for n in range(32)] + [step(n) for n in range(32, 43)]
    kept = thin_readings(readings, lambda s: s.gradient_norm, lambda s: s.optimizer, lambda s: s.skipped)
    assert [s.step for s in kept if s.step < 32] == [0, 6, 10, 31]
    assert [s.step for s in kept if s.step >= 32] == list(range(32, 43))


def test_a_list_is_replaced_when_it_is_thinned_so_that_a_reader_keeps_its_own():
    recording = run(MOST_SNAPSHOTS)
    held = recording.snapshots
    recording.add(Snapshot(MOST_SNAPSHOTS, EMPTY, 8))
    assert recording.snapshots is not held
    assert len(held) == MOST_SNAPSHOTS + 1
