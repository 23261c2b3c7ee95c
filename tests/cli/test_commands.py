"""What each command prints and writes."""

import sys
from types import ModuleType

import pytest
import torch

from undertow.cli.main import FINDINGS, FINE, main
from undertow.native import available, kernels


@pytest.fixture
def shell(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_info_says_what_is_installed(shell):
    code, out, _ = shell("info")
    assert code == FINE
    assert f"torch: {torch.__version__}" in out
    assert f"threads: {torch.get_num_threads()}" in out
    assert ("compiled kernels: in use" in out) == available()


def test_info_says_why_kernels_are_missing(shell, monkeypatch):
    monkeypatch.setattr(kernels, "module", None)
    monkeypatch.setattr(kernels, "_reason", "GLIBC_2.99 not found")
    assert "compiled kernels: not there, plain torch stands in: GLIBC_2.99 not found" in shell("info")[1]


@pytest.mark.parametrize("subject", ["chain", "network", "model"])
def test_backprop_draws_each_subject(shell, tmp_path, subject):
    code, out, _ = shell("backprop", "--of", subject, "-o", tmp_path / "b.svg")
    assert code == FINE
    assert "written" in out
    assert "<text" in (tmp_path / "b.svg").read_text(encoding="utf-8")


def test_figures_prints_what_was_written(shell, tmp_path, monkeypatch):
    from undertow.report import figures

    asked = []
    monkeypatch.setattr(figures, "write_all", lambda folder: asked.append(folder) or [folder / "a.svg"])
    code, out, _ = shell("figures", "-o", tmp_path / "new" / "figures")
    assert code == FINE
    assert asked == [tmp_path / "new" / "figures"]
    assert out == f"written: {tmp_path / 'new' / 'figures' / 'a.svg'}\n"


def test_demo_passes_its_options_and_its_exit_code_on(shell, tmp_path, monkeypatch):
    asked = []
    fake = ModuleType("undertow.demo")
    fake.__dict__["run"] = lambda *given: asked.append(given) or FINDINGS
    monkeypatch.setitem(sys.modules, "undertow.demo", fake)
    assert shell("demo", "--lang", "ko", "-o", tmp_path / "d.html")[0] == FINDINGS
    assert asked[0][:2] == ("ko", tmp_path / "d.html")
