"""What each command prints and writes."""

import math
import sys
from types import ModuleType

import pytest
import torch

from undertow.activations import activation, names
from undertow.cli.main import FINDINGS, FINE, WRONG_USE, main
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


def test_activations_list_has_every_name_and_alias(shell):
    code, out, _ = shell("activations", "list")
    assert code == FINE
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert tuple(lines) == names()
    assert "silu" in lines["swish"]


@pytest.mark.parametrize("name", names())
def test_activations_show_works_for_each(shell, name):
    code, out, err = shell("activations", "show", name)
    assert (code, err) == (FINE, "")
    act = activation(name)
    assert act.formula in out
    assert str(act.reference) in out
    assert shell("activations", "show", name, "--lang", "ko")[0] == FINE


def test_activations_show_prints_measured_facts(shell):
    out = shell("activations", "show", "logistic")[1]
    assert "range of f: 0 … 1" in out
    assert "range of f′: 0 … 0.25" in out
    assert "monotone" in out
    relu = shell("activations", "show", "relu")[1]
    assert "kinks at: 0" in relu
    assert f"{math.sqrt(2):.4f} keeps the signal" in relu  # He et al. (2015)


def test_activations_show_of_an_unknown_name(shell):
    code, out, err = shell("activations", "show", "swich")
    assert (code, out) == (WRONG_USE, "")
    assert "'swish'" in err


def test_activations_plot_writes_what_the_suffix_names(shell, tmp_path):
    code, out, _ = shell("activations", "plot", "relu", "leaky-relu", "-o", tmp_path / "a.svg")
    assert code == FINE
    assert str(tmp_path / "a.svg") in out
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    code, _, err = shell("activations", "plot", "relu", "nothing", "-o", tmp_path / "b.svg")
    assert code == WRONG_USE
    assert "'nothing'" in err
    assert not (tmp_path / "b.svg").exists()


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
