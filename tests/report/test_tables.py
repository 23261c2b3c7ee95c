"""What stands in the tables of a report, and that a narrow terminal shows all of it."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from undertow.diagnosis import Diagnosis
from undertow.record import Ledger, NotObserved, Recording, Snapshot
from undertow.report import compose, ledger_table
from undertow.report.document import Column, Document, Number, Row, Table, Text
from undertow.report.html import html
from undertow.report.markdown import markdown
from undertow.report.terminal import drawn


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn(table, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_a_wide_ledger_keeps_its_names_and_every_column(ledger, width: int) -> None:
    factors = dict.fromkeys(("normalisation", "branching", "other"), 1.25e-13)
    wide = Ledger(tuple(replace(e, **factors) if e.previous else e for e in ledger.entries))
    table = ledger_table(wide)
    text = shown(table, width)
    assert len(table.columns) == 9
    words = text.split()
    assert {word for column in table.columns for word in column.title.split()} <= set(words)
    parts = 1 if width >= 110 else 2
    assert words.count("layer") - 2 == words.count("layers.0") == words.count("layers.38") == parts  # 2: caption
    assert words.count("×1.6×10⁻²⁶") == 3 * 19
    assert max(map(len, text.splitlines())) <= width
    assert table.note.split()[0] in text.splitlines()[-1] + text.splitlines()[-2]


def test_a_table_of_one_column_or_no_row_is_drawn() -> None:
    assert "alone" in shown(Table((Column("alone"),), (Row((Text("a"),)),)), 20)
    assert "right" in shown(Table((Column("left"), Column("right")), ()), 20)


def test_a_factor_without_a_value_is_a_dash_and_a_measured_nan_is_one() -> None:
    table = Table((Column("a"), Column("b")), (Row((Number(math.nan, times=True), Number(math.nan))),))
    document = Document("title", "en", (table,))
    for text in (shown(table, 80), markdown(document), html(document)):
        assert "–" in text
        assert "NaN" in text
        assert "×NaN" not in text


def test_the_ledger_of_a_run_that_broke_is_the_last_one_with_numbers(ledger) -> None:
    last = ledger.entries[-1]
    gone = [replace(e, backward=replace(e.backward, rms=0.0), activation=math.nan) for e in ledger.entries[:-1]]
    broken = Ledger((*gone, last), 9)
    assert (broken.end_to_end, math.isnan(broken.product)) == (0.0, True)
    snapshots = [Snapshot(5, Ledger(ledger.entries, 5), 8), Snapshot(9, broken, 8)]
    diagnosis = Diagnosis((), broken, ledger, recording=Recording([], snapshots))
    tables = [b for b in compose.diagnosis_document(diagnosis, figures=False).blocks if isinstance(b, Table)]
    assert "(5)" in tables[0].caption


def test_what_was_not_observed_stands_once_for_each_reason() -> None:
    notes = [NotObserved(f"layers.{i}", "fused") for i in range(4)]
    notes += [NotObserved("a", "frozen"), NotObserved("b", "frozen")]
    assert compose.grouped(notes) == [("layers.0 … layers.3 (4)", "fused"), ("a, b", "frozen")]
