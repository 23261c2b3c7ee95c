"""How far the gradient reaches back along time, as a report shows it."""

from __future__ import annotations

import pytest

from undertow.diagnosis.examples import observed
from undertow.diagnosis.recurrent_examples import first_or_last
from undertow.diagnosis.sequences import reach
from undertow.foundation import language
from undertow.record import Recording
from undertow.report.document import Bar, Number, Text
from undertow.report.sequences import time_table
from undertow.report.training import sections


@pytest.fixture(scope="module")
def recording() -> Recording:
    return observed(first_or_last(reads_first=True))


def test_a_row_has_the_length_the_factor_of_a_step_and_the_profile(recording: Recording) -> None:
    table = time_table(recording)
    assert table is not None
    (row,) = table.rows
    name, length, factor, far, *parts = row.cells
    reading = recording.snapshots[-1].times or [s.times for s in recording.snapshots if s.times][-1]
    (last,) = reading.values()
    assert isinstance(name, Text)
    assert name.text == "rnn"
    assert isinstance(length, Number)
    assert length.value == 30
    assert isinstance(factor, Number)
    assert factor.value == last.step
    assert isinstance(far, Number)
    assert far.value == reach(last.step)
    assert [p.value for p in parts if isinstance(p, Bar)] == [last.backward[i] for i in (0, 7, 14, 22, 29)]


@pytest.mark.parametrize("code", ["en", "ko"])
def test_the_report_has_it_in_both_languages(recording: Recording, code: str) -> None:
    with language(code):
        table = time_table(recording)
        assert table in list(sections(recording))


def test_there_is_none_without_a_recurrent_layer() -> None:
    assert time_table(Recording()) is None


@pytest.mark.parametrize(("factor", "steps"), [(0.5, 10), (0.1, 3), (0.0, 1), (1.0, None), (1.2, None)])
def test_a_thousandth_is_left_after_so_many_steps(factor: float, steps: int | None) -> None:
    assert reach(factor) == steps
