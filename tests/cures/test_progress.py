"""The bar goes to stderr, and only to a terminal; its unit is the optimizer step."""

import pytest

from undertow.cures.trials.progress import Bar, progress_bar
from undertow.foundation import language


@pytest.mark.parametrize(
    ("wanted", "terminal", "shown"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_the_bar_is_for_terminals(monkeypatch, capsys, wanted: bool, terminal: bool, shown: bool):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with progress_bar(wanted) as bar:
        bar.expect(60)
        bar.done("relu", 30)
        bar.done("", 30)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("60/60" in err) is shown
    assert ("control" in err) is shown


def test_it_speaks_the_readers_language(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with language("ko"), progress_bar() as bar:
        bar.expect(1)
        bar.done("", 1)
    assert "대조군" in capsys.readouterr().err


class Seen(Bar):
    def show(self, label: str, done: int, total: int) -> None:
        self.last = done, total


def test_what_is_planned_what_is_done_and_what_an_earlier_run_did():
    bar = Seen()
    bar.expect(100)
    bar.step("", 0)
    for step in range(1, 31):
        bar.step("", step)
    bar._draw(force=True)
    assert bar.last == (30, 100)
    bar.done("", 50)  # it broke off after 30, and no more of it are to come
    assert bar.last == (50, 100)
    bar.known(20)
    assert bar.last == (50, 80)
    bar.expect(10)
    assert bar.last == (50, 60)
    bar.known(99)
    assert bar.last == (50, 50)
