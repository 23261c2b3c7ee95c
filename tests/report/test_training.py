"""What a report says around the ledger: stages, updates, how a fault came, attention."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from undertow.diagnosis import judge
from undertow.foundation import language
from undertow.record import (
    AttentionReading,
    Entry,
    Ledger,
    ParameterReading,
    ParameterState,
    Reading,
    Recording,
    Site,
    Snapshot,
    Stage,
    StepReading,
)
from undertow.report import compose, print_document
from undertow.report.document import Bar, Document, Number, Table, Text
from undertow.report.html import html
from undertow.report.training import approach_table, attention_table, figures_of, run_table, updates_table


def reading(size: float, **counts: int) -> Reading:
    return Reading(8, 0.0, size, 2 * size, **counts)


def snapshot(step: int, size: float = 1.0, **more: object) -> Snapshot:
    sites = [Site("first", "linear", 0, "weights"), Site("last", "linear", 0, "weights")]
    entries = (
        Entry(sites[0], None, reading(size), reading(0.1)),
        Entry(sites[1], sites[0], reading(10 * size), reading(0.1)),
    )
    parameters = {
        "first.weight": ParameterReading(reading(1.0), reading(0.1), reading(2e-3)),
        "first.bias": ParameterReading(reading(1e-9), reading(0.1), reading(2e-3)),
        "last.weight": ParameterReading(reading(2.0), reading(0.1), reading(2e-7)),
    }
    return Snapshot(step, Ledger(entries, step), 8, None, parameters, **more)  # type: ignore[arg-type]


@pytest.fixture
def recording() -> Recording:
    made = Recording(optimizers=["Adam", "SGD"], overhead=0.013, tied={"first.weight": ("last.weight",)})
    for i in range(25):
        clipped = {"unclipped_norm": 100.0} if i % 25 < 22 else {}
        made.steps.append(StepReading(i, 3.0, 0.1 / (i + 1), passes=4, loss_scale=2.0**i, skipped=i == 7, **clipped))  # type: ignore[arg-type]
    made.steps[9] = StepReading(9, 3.0, 0.01, passes=4, carried=True, changed_late=True, loss_scale=512.0)
    made.snapshots += [snapshot(i, 1.1**i, stage=Stage(ranks=2, eager=True)) for i in range(0, 25, 6)]
    for name, shape, status in [
        ("first.weight", (4, 4), "trained"),
        ("first.bias", (4,), "trained"),
        ("last.weight", (4, 4), "unused"),
        ("old.weight", (4, 4), "frozen"),
    ]:
        made.parameters[name] = ParameterState(name, status, shape)  # type: ignore[arg-type]
    return made


def lines(table: Table | None) -> dict[str, str]:
    assert table is not None
    return {row.cells[0].text: row.cells[1].text for row in table.rows}  # type: ignore[union-attr]


def test_every_stage_has_its_line(recording: Recording) -> None:
    found = lines(run_table(recording))
    assert found["clipping"] == "In 83 % of the steps, to 3 % of the norm on average."
    assert found["skipped"].startswith("1 of 25 steps updated nothing, the last one at step 7.")
    assert found["accumulation"].startswith("4 backward passes a step")
    assert found["loss scale"].startswith("1 in the first step, 1.68×10⁷ in the last")
    assert found["clipped too late"].startswith("After 1 of 5 measured steps")
    assert found["carried over"].startswith("In 1 of 25 steps")
    assert found["ranks"].startswith("2: backward values are those of rank 0")
    assert found["parameters"] == "1 frozen. 1 never received a gradient. Tied: first.weight = last.weight."
    assert found["optimizer"] == "Adam, SGD, learning rate 0.004 to 0.1, at the end 0.004"
    assert found["cost"].startswith("1.3 % of the run's time; 5 of 25 steps")
    assert "compiled model" in found


def test_a_plain_run_has_two_lines() -> None:
    plain = Recording([StepReading(0, 1.0, 0.1)], [snapshot(0)], optimizers=["SGD"])
    assert lines(run_table(plain)) == {
        "optimizer": "SGD, learning rate 0.1",
        "cost": "Every step was measured whole, as asked for.",
    }
    assert run_table(Recording([StepReading(0, 1.0, 0.0)], [snapshot(0)])) is None


def test_clipping_that_leaves_almost_nothing() -> None:
    steps = [StepReading(i, 1e-4, 0.1, unclipped_norm=1.0) for i in range(3)]
    assert "to 0.01 % of the norm" in lines(run_table(Recording(steps, [snapshot(0)], optimizers=["SGD"])))["clipping"]


def test_updates_of_weights_the_largest_first(recording: Recording) -> None:
    table = updates_table(recording)
    assert table is not None
    assert [r.cells[0] for r in table.rows] == [Text("first.weight", code=True), Text("last.weight", code=True)]
    sizes = [r.cells[1].value for r in table.rows if isinstance(r.cells[1], Bar)]
    assert sizes == pytest.approx([2e-3, 1e-7])
    usual = table.rows[0].cells[2]
    assert isinstance(usual, Number)
    assert usual.value == pytest.approx(2.0)
    assert updates_table(Recording([], [snapshot(0)])) is not None
    assert updates_table(Recording([], [Snapshot(0, Ledger(()), 1)])) is None


def test_a_large_model_shows_its_extremes() -> None:
    parameters = {f"w{i:02}": ParameterReading(reading(1.0), None, reading(10.0**-i)) for i in range(40)}
    table = updates_table(Recording([], [Snapshot(0, Ledger(()), 1, None, parameters)]))
    assert table is not None
    names = [c.text for r in table.rows if isinstance(c := r.cells[0], Text)]
    assert names == [f"w{i:02}" for i in (*range(6), *range(34, 40))]
    assert "28 between them" in table.note


def test_how_a_fault_came(recording: Recording) -> None:
    broken = snapshot(25, 1.0)
    entry = Entry(broken.ledger.entries[0].site, None, reading(1.0, nans=3), reading(0.1))
    recording.snapshots.append(Snapshot(25, Ledger((entry, broken.ledger.entries[1]), 25), 8))
    recording.steps.append(StepReading(25, math.nan, 0.1))
    table = approach_table(recording, 25)
    assert table is not None
    cells = [row.cells for row in table.rows]
    assert [c[0].text for c in cells] == ["0", "6", "12", "18", "24", "25"]  # type: ignore[union-attr]
    assert cells[1][2] == Number(20 * 1.1**6)
    assert [c[3].text for c in cells] == ["last"] * 5 + ["first"]  # type: ignore[union-attr]
    assert isinstance(cells[-1][2], Number)
    assert math.isnan(cells[-1][2].value)
    assert approach_table(recording, 0) is None
    shown = compose.diagnosis_document(judge(recording), figures=False).blocks
    assert table in shown


def test_the_same_as_numbers(recording: Recording) -> None:
    found = figures_of(recording)
    assert found["clipped_share"] == pytest.approx(20 / 24)
    assert found["clip_ratio"] == pytest.approx(0.03)
    assert found["updates"] == pytest.approx({"first.weight": 2e-3, "last.weight": 1e-7})
    assert (found["passes"], found["skipped"], found["ranks"], found["eager"]) == (4, 1, 2, True)
    assert found["parameters"]["last.weight"] == "unused"


def test_attention() -> None:
    seen = {"mix:softmax#0": AttentionReading(reading(3.0), 0.2, 0.9)}
    table = attention_table(snapshot(0, attention=seen))
    assert table is not None
    assert table.rows[0].cells[1:] == (Number(3.0), Number(6.0), Number(0.2), Number(0.9))
    assert attention_table(snapshot(0)) is None


@pytest.mark.parametrize("code", ["en", "ko"])
def test_all_of_it_is_drawn(recording: Recording, code: str) -> None:
    with language(code):
        document = compose.diagnosis_document(judge(recording), figures=False)
        assert isinstance(document, Document)
        console = Console(file=io.StringIO(), width=80)
        print_document(document, console)
        texts = console.file.getvalue(), html(document)  # type: ignore[attr-defined]
    for text in texts:
        assert "first.weight" in text
        assert "83 %" in text


def test_the_cost_is_told_with_and_without_the_first_steps(recording: Recording) -> None:
    recording.overhead_later = 0.009
    assert lines(run_table(recording))["cost"].startswith("1.3 % of the run's time, 0.9 % after the first five steps")
