"""`undertow cure FILE.py:NAME`: its first line, its exit codes, its formats, and the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from undertow.cli.main import main
from undertow.cures import all_cures

FILE = """
import torch
from torch import nn

import undertow as ut


def make(seed, act=nn.Sigmoid, depth=6, labels=None):
    hidden = [m for i in range(depth) for m in (nn.Linear(32 if i else 8, 32), act())]
    model = nn.Sequential(*hidden, nn.Linear(32, 2))
    x = torch.randn(40, 32, 8)
    y = (x[..., 0] > 0).long() if labels is None else labels(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = list(zip(x[8:], y[8:]))
    held_out = list(zip(x[:8], y[:8]))
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches, held_out=held_out)


def sound(seed):
    return make(seed, nn.ReLU, 2)


def random_labels(seed):
    return make(seed, nn.ReLU, 2, lambda x: torch.randint(2, x.shape[:2]))


def broken(seed):
    raise OSError("no data")


def raising(seed):
    training = make(seed)
    training.metric = lambda model: 1 / 0
    return training


def pair(seed):
    return nn.Linear(2, 2), torch.ones(1, 2)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(FILE)
    return tmp_path


def cure(capsys, *arguments):
    status = main(["cure", *arguments])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("target", "status", "first"),
    [
        ("sound", 0, "HEALTHY: train.py:sound: nothing to cure."),
        ("random_labels", 1, "NOT THE GRADIENT: train.py:random_labels: no fault of the gradient"),
    ],
)
def test_where_nothing_is_to_cure_the_first_line_says_so(target, status, first, capsys):
    found, out, err = cure(capsys, f"train.py:{target}")
    assert (found, err) == (status, "")
    assert out.startswith(first)


def test_a_cure_is_written_to_a_new_file_that_trains(folder: Path, capsys):
    options = ("--cures", "leaky_relu", "--write", "cured.py", "-o", "r.html", "--resume", "search.undertow")
    status, out, err = cure(capsys, "train.py:make", *options)
    assert (status, err) == (0, "")
    assert out.startswith("CURED: train.py:make: Vanishing gradient from 0 (linear)")
    assert "Next: python cured.py" in out
    assert "The patched file was run on the 3 seeds" in out
    assert (folder / "train.py").read_text() == FILE
    written = (folder / "cured.py").read_text()
    assert "LeakyReLU" in written
    assert "</html>" in (folder / "r.html").read_text(encoding="utf-8")
    status, out, err = cure(capsys, "train.py:make", *options[:2], *options[6:], "--format", "json")
    data = json.loads(out)
    assert (status, data["ending"], data["best"]) == (0, "cured", "leaky_relu")
    assert data["next"] == "undertow cure train.py:make --resume search.undertow --write train_cured.py"
    assert data["patch"]["diff"].startswith("--- train.py")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("train.py:broken",), 3, "train.py: OSError: no data"),
        (("train.py:raising",), 3, "train.py: ZeroDivisionError"),
        (("train.py:pair",), 2, "def pair(seed): return ut.Training"),
        (("train.py:nothing",), 2, "make"),
        (("train.py",), 2, "undertow cure train.py:make"),
        ((), 2, "undertow cure --list"),
        (("train.py:make", "--seeds", "0"), 2, "--seeds 3"),
        (("train.py:make", "--steps", "0"), 2, "--steps 300"),
        (("train.py:make", "--budget", "much"), 2, "10x"),
        (("train.py:make", "--cures", "rleu"), 2, "'relu'"),
        (("train.py:make", "--cures", "learning_rate + adam"), 2, "learning_rate ×0.1"),
        (("train.py:make", "--write", "train.py"), 2, "a new file"),
        (("train.py:make", "-o", "report.pdf"), 2, ".html"),
    ],
)
def test_wrong_use_and_a_failing_program_are_one_line(arguments, status, says, folder: Path, capsys):
    before = sorted(folder.iterdir())
    found, out, err = cure(capsys, *arguments)
    assert (found, out) == (status, "")
    assert err.count("\n") == 1
    assert says in err
    assert sorted(folder.iterdir()) == before


def test_the_list_names_every_cure(capsys):
    status, out, _ = cure(capsys, "--list")
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == [c.label for c in all_cures()]
    english = out
    assert cure(capsys, "--list", "--lang", "ko")[1] != english
