"""The frame: exit codes, one-line errors, languages, and that help imports no torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from undertow import __version__
from undertow.cli.main import FINE, INTERRUPTED, WRONG_USE, main

SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}


def alone(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: help is made once a process, and what it imports is to be seen."""
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=SOURCE)


@pytest.fixture
def shell(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def one_line_error(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["demo", "--help"], ["activations", "show", "--help"], ["--lang", "ko", "--help"]],
)
def test_help_imports_neither_torch_nor_matplotlib_nor_rich(arguments):
    program = (
        "import sys; from undertow.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'rich', 'jinja2'} & set(sys.modules)), file=sys.stderr);"
        "sys.exit(code)"
    )
    ran = alone(program, *arguments)
    assert ran.returncode == FINE
    assert ran.stdout
    assert ran.stderr == "[]\n"


def test_help_lists_every_command_in_each_language():
    program = "import sys; from undertow.cli.main import main; sys.exit(main(sys.argv[1:]))"
    english, korean = (alone(program, *arguments).stdout for arguments in (["--help"], ["--lang=ko", "--help"]))
    for command in ("demo", "activations", "backprop", "figures", "info"):
        assert re.search(rf"^  {command} ", english, re.M)
        assert re.search(rf"^  {command} .*[가-힣]", korean, re.M)


def test_version(shell):
    assert shell("--version") == (FINE, f"undertow {__version__}\n", "")


def test_an_unknown_command_names_the_nearest(shell):
    code, out, err = shell("dmeo")
    assert (code, out) == (WRONG_USE, "")
    assert one_line_error(err)
    assert "'demo'" in err


def test_an_unknown_option_and_a_missing_value(shell):
    for arguments in (["info", "--nothing"], ["backprop", "--of", "house"], ["activations", "show"]):
        code, out, err = shell(*arguments)
        assert (code, out) == (WRONG_USE, "")
        assert "Usage: undertow" in err
        assert "Traceback" not in err


def test_an_unknown_language(shell):
    for arguments in (["info", "--lang", "fr"], ["--lang=fr", "info"]):
        code, out, err = shell(*arguments)
        assert (code, out) == (WRONG_USE, "")
        assert one_line_error(err)
        assert "en, ko" in err


def test_the_language_may_stand_before_or_after_the_command(shell):
    before, after = shell("--lang", "ko", "info"), shell("info", "--lang", "ko")
    assert before == after
    assert "컴파일된 커널" in before[1]
    assert "compiled kernels" in shell("info")[1]


@pytest.mark.parametrize(
    "command", [["backprop"], ["demo"], ["activations", "plot", "relu"], ["figures"]], ids=lambda c: c[0]
)
def test_an_unwritable_output_is_refused_before_any_work(shell, tmp_path, monkeypatch, command):
    (tmp_path / "file").write_text("kept")
    for room in ("undertow.report.figures", "undertow.demo"):  # what does the work cannot even be imported
        monkeypatch.setitem(sys.modules, room, None)
    code, out, err = shell(*command, "-o", tmp_path / "file" / "x.svg")
    assert (code, out) == (WRONG_USE, "")
    assert one_line_error(err)
    assert "x.svg" in err
    assert (tmp_path / "file").read_text() == "kept"


def broken(error: BaseException):
    def facts():
        raise error

    return facts


def test_a_fault_of_our_own_is_one_line(shell, monkeypatch):
    import undertow.cli.info

    monkeypatch.setattr(undertow.cli.info, "facts", broken(ZeroDivisionError("by\nzero")))
    code, _, err = shell("info")
    assert code == WRONG_USE
    assert one_line_error(err)
    assert "ZeroDivisionError: by zero" in err
    assert "--debug" in err


def test_debug_shows_the_traceback(monkeypatch):
    import undertow.cli.info

    monkeypatch.setattr(undertow.cli.info, "facts", broken(ZeroDivisionError("by zero")))
    for arguments in (["--debug", "info"], ["info", "--debug"]):
        with pytest.raises(ZeroDivisionError):
            main(arguments)


def test_an_interrupt_ends_quietly(shell, monkeypatch):
    import undertow.cli.info

    monkeypatch.setattr(undertow.cli.info, "facts", broken(KeyboardInterrupt()))
    assert shell("info") == (INTERRUPTED, "", "")
