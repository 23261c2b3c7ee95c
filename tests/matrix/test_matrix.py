"""The matrix of models and loops: see `rows.py`; `make matrix` writes its table, docs/observing.md."""

from __future__ import annotations

from importlib.util import find_spec

import checks
import pytest
from rows import ROWS, Row, all_rows

LIST = [pytest.param(r.id, marks=() if r.fast else pytest.mark.slow) for r in all_rows()]


@pytest.fixture(scope="module", params=LIST)
def row(request: pytest.FixtureRequest) -> Row:
    found = ROWS[request.param]
    if found.needs and find_spec(found.needs) is None:
        pytest.skip(f"{found.needs} is not installed")
    return found


def test_watching_changes_nothing(row: Row) -> None:
    assert checks.differences(row.id) == []
    done, run = checks.watched(row.id)
    measured = {s.step for s in run.recording.snapshots}
    assert measured >= set(range(done.setting.steps)) or (measured and not row.every_step)


def test_every_backward_value_is_autograds(row: Row) -> None:
    if not row.truth:
        pytest.skip("its loop has a test of its own")
    for against in checks.against_autograd(row.id).values():
        assert against.sites.unknown == ()
        assert against.sites.error < row.tolerance, against.sites.worst
        assert against.parameters < row.tolerance or not row.parameters, against.worst


def test_every_activation_is_a_site(row: Row) -> None:
    assert checks.activations(row.id) == row.activations
    for entry in checks.watched(row.id)[1].recording.snapshots[-1].ledger:
        assert (entry.site.source is None) == (not entry.site.functional)


def test_findings_are_those_planted(row: Row) -> None:
    assert checks.findings(row.id) == row.findings


def test_what_is_not_observed_is_said_with_its_reason(row: Row) -> None:
    said = checks.notes(row.id)
    assert all(any(part in line for line in said) for part in row.not_observed)
    assert all(any(part in line for part in row.not_observed) for line in said)
