"""`undertow forecast`: targets of every kind, formats, exit codes, one clear error for each wrong use."""

from __future__ import annotations

import json
import textwrap
import warnings
from pathlib import Path

import pytest

from undertow.cli.main import main

FILE = """
import torch
from torch import nn
import undertow as ut

def chain(activation, depth):
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(32, 32), activation())], nn.Linear(32, 4))

def sick():
    return chain(nn.Sigmoid, 16), torch.randn(16, 32)

def sound(seed):
    torch.manual_seed(seed)
    return chain(nn.ReLU, 3), torch.randn(16, 32)

def alone():
    return chain(nn.ReLU, 3)

model = chain(nn.ReLU, 3)

def training(seed):
    model = chain(nn.ReLU, 3)
    loss = nn.functional.cross_entropy
    batches = [(torch.randn(16, 32), torch.randint(4, (16,)))]
    return ut.Training(model, torch.optim.SGD(model.parameters(), 0.1), loss, batches)

def tokens():
    return nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 16))

def broken():
    return nn.Linear(3, 3)(torch.zeros(2))

number = 3
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("train.py:sick",), 1),
        (("train.py:sound",), 0),
        (("train.py:alone", "--input", "16x32"), 0),
        (("train.py:model", "--input", "16x32"), 0),
        (("train.py:training",), 0),
        (("train.py:tokens", "--input", "4x8:tokens"), 0),
    ],
)
def test_targets_of_every_kind(arguments, status, capsys):
    assert main(["forecast", *arguments]) == status
    out = capsys.readouterr().out
    assert "Forecast of the backward pass" in out
    assert ("will vanish" in out) == (status == 1)


def test_measured_side_by_side_over_seeds(capsys):
    assert main(["forecast", "train.py:sound", "--measure", "--seeds", "3", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["measured"]
    assert found["seeds"] == 3
    assert found["holds"]
    assert all(s["within"] for s in found["sites"])


def test_a_model_as_it_is_has_one_seed(capsys):
    main(["forecast", "train.py:model", "--input", "16x32", "--measure", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["measured"]["seeds"] == 1


@pytest.mark.parametrize("name", ["f.svg", "f.png", "f.html", "f.md", "f.json", "f.txt"])
def test_files_of_every_kind(name, tmp_path, capsys):
    assert main(["forecast", "train.py:sound", "-o", name]) == 0
    assert f"written: {name}" in capsys.readouterr().out
    assert (tmp_path / name).stat().st_size > 500


def test_in_korean(capsys):
    assert main(["forecast", "train.py:sick", "--lang", "ko"]) == 1
    assert "역전파 값의 예보" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("train.py",), 2, "FILE.py:NAME"),
        (("gone.py:model",), 2, "which is not there"),
        (("train.py:nothing",), 2, "sick, sound, alone"),
        (("train.py:number",), 2, "a int from the target"),
        (("train.py:alone",), 2, "a model without an input"),
        (("train.py:alone", "--input", "16x"), 2, "--input 16x"),
        (("train.py:alone", "--input", "16x7"), 2, "RuntimeError in the forward pass"),
        (("train.py:sound", "--seeds", "0"), 2, "--seeds 0"),
        (("train.py:sound", "-o", "f.doc"), 2, "f.doc"),
        (("train.py:broken",), 3, "RuntimeError"),
    ],
)
def test_wrong_use_is_one_line(arguments, status, says, capsys):
    assert main(["forecast", *arguments]) == status
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 1


def test_a_warning_of_the_users_code_is_shown_once_for_all_seeds(tmp_path):
    code = """
        import warnings, torch
        from torch import nn

        class Model(nn.Linear):
            def forward(self, x):
                warnings.warn("forward is old")
                return super().forward(x)

        def make(seed):
            warnings.warn("make is old")
            return Model(8, 8), torch.randn(4, 8)
    """
    file = tmp_path / "old.py"
    file.write_text(textwrap.dedent(code))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert main(["forecast", f"{file}:make", "--measure", "--seeds", "3"]) == 0
    assert sorted(str(w.message) for w in shown) == ["forward is old", "make is old"]
