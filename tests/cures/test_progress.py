"""The bar goes to stderr, and only to a terminal."""

import pytest

from undertow.cures.trials.progress import progress_bar
from undertow.foundation import language


@pytest.mark.parametrize(
    ("wanted", "terminal", "shown"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_the_bar_is_for_terminals(monkeypatch, capsys, wanted: bool, terminal: bool, shown: bool):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with progress_bar(2, wanted) as advance:
        advance("relu", 1)
        advance("", 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err) is shown
    assert ("control" in err) is shown


def test_it_speaks_the_readers_language(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with language("ko"), progress_bar(1) as advance:
        advance("", 1)
    assert "대조군" in capsys.readouterr().err
