"""docs/forecast.md prints what it shows, its shell lines run, and it names every flag."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from undertow.cli.main import main
from undertow.foundation.messages import catalogue

PAGE = (Path(__file__).parents[1] / "docs/forecast.md").read_text(encoding="utf-8")
MODEL = """
import torch
def make_model(seed=0):
    layers = [layer for _ in range(3) for layer in (torch.nn.Linear(784, 784), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers), torch.randn(16, 784)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.M | re.S)


@pytest.mark.slow
def test_its_lines_print_what_it_shows(capsys):
    names: dict[str, object] = {}
    for code, shown in zip(blocks("python"), blocks("text"), strict=True):
        exec(code, names)
        assert capsys.readouterr().out == shown


@pytest.mark.parametrize("line", blocks("sh")[0].splitlines())
def test_its_shell_lines_run(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(MODEL)
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


def test_every_flag_is_explained():
    flags = {key.removeprefix("forecast.flags.") for key in catalogue("en") if key.startswith("forecast.flags.")}
    assert {flag for flag in flags if f"`{flag}`" not in PAGE} == set()
