"""`undertow check FILE.py:NAME`: the gate before an expensive job, and its formats for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from undertow.cli.main import main
from undertow.diagnosis.ignored import KINDS

FILE = """
import torch
from torch import nn
import undertow as ut

def chain(activation, depth):
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(32, 32), activation())], nn.Linear(32, 4))

def make(seed, act=nn.Sigmoid, depth=16, rate=0.1):
    torch.manual_seed(seed)
    model = chain(act, depth)
    batches = [(torch.randn(64, 32), torch.randint(4, (64,))) for _ in range(10)]
    return ut.Training(model, torch.optim.SGD(model.parameters(), rate), nn.functional.cross_entropy, batches)

def sound(seed):
    return make(seed, nn.ReLU, 3)

def diverging(seed):
    return make(seed, nn.ReLU, 3, rate=1e6)

def pair():
    return chain(nn.ReLU, 3), torch.randn(16, 32)

def broken():
    raise OSError("no data")
"""
LINE = 1 + FILE[: FILE.index("def make(")].count("\n")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(FILE)
    return tmp_path


def check(capsys, *arguments):
    status = main(["check", *arguments])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("target", "status", "first"),
    [
        ("make", 1, "FAILS: train.py:make: Vanishing gradient from "),
        ("sound", 0, "PASSES: train.py:sound"),
        ("pair", 0, "PASSES: train.py:pair"),
        ("diverging", 1, "FAILS: train.py:diverging: "),
    ],
)
def test_the_first_line_is_the_verdict(target, status, first, capsys):
    found, out, err = check(capsys, f"train.py:{target}")
    assert (found, err) == (status, "")
    assert out.startswith(first)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("train.py:broken",), 3, "OSError: no data"),
        (("train.py:nothing",), 2, "make"),
        (("train.py",), 2, "undertow check train.py:make"),
        (("train.py:sound", "more"), 2, "one FILE.py:NAME"),
        (("train.py:sound", "--steps", "0"), 2, "at least one step"),
        (("train.py:sound", "--ignore", "vansihing"), 2, "vanishing"),
    ],
)
def test_wrong_use_is_one_line(arguments, status, says, capsys):
    found, out, err = check(capsys, *arguments)
    assert (found, out) == (status, "")
    assert says in err
    assert err.count("\n") == 1


def test_options_may_follow_or_precede_the_target(capsys):
    after = check(capsys, "train.py:sound", "--steps", "3", "--format", "json")
    before = check(capsys, "--steps", "3", "--format", "json", "train.py:sound")
    assert after[0] == before[0] == 0
    assert json.loads(after[1])["diagnosis"]["steps"] == json.loads(before[1])["diagnosis"]["steps"] == 3


def test_what_pyproject_ignores_does_not_count_and_is_told(folder, capsys):
    (folder / "pyproject.toml").write_text('[tool.undertow]\nignore = ["vanishing:0*", "dead:nowhere"]\n')
    status, out, _ = check(capsys, "train.py:make", "--format", "json")
    found = json.loads(out)
    assert (status, found["healthy"], found["unused"]) == (0, True, ["dead:nowhere"])
    assert [f["kind"] for f in found["ignored"]] == ["vanishing"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("ignores = []", "the key 'ignores' in [tool.undertow]"),
        ('ignore = "dead"', "ignore = 'dead'"),
        ("ignore = [", "a file in TOML"),
    ],
)
def test_a_wrong_pyproject_is_told(table, says, folder, capsys):
    (folder / "pyproject.toml").write_text(f"[tool.undertow]\n{table}\n")
    status, _, err = check(capsys, "train.py:sound")
    assert status == 2
    assert says in err


def test_only_the_severity_that_was_asked_for_fails(capsys):
    assert check(capsys, "train.py:make", "--fail-on", "critical")[0] == 1
    assert check(capsys, "train.py:make", "--fail-on", "never")[0] == 0


def test_sarif_names_rule_level_file_and_line(capsys):
    status, out, _ = check(capsys, "train.py:make", "--format", "sarif", "--ignore", "saturated")
    log = json.loads(out)
    (run,) = log["runs"]
    assert (status, log["version"]) == (1, "2.1.0")
    assert {r["id"] for r in run["tool"]["driver"]["rules"]} <= set(KINDS)
    result = next(r for r in run["results"] if r["ruleId"] == "vanishing")
    assert result["level"] == "error"
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("train.py", LINE)


def test_junit_has_a_case_for_each_kind(capsys):
    status, out, _ = check(capsys, "train.py:make", "--format", "junit")
    suite = ElementTree.fromstring(out)
    cases = suite.findall("testcase")
    assert status == 1
    assert [c.get("name") for c in cases] == list(KINDS)
    failed = [c.get("name") for c in cases if c.find("failure") is not None]
    assert "vanishing" in failed
    assert suite.get("failures") == str(len(failed))


def test_github_annotates_the_target(capsys):
    status, out, _ = check(capsys, "train.py:make", "--format", "github")
    assert status == 1
    assert out.startswith(f"::error file=train.py,line={LINE},title=Vanishing gradient")
    assert all(line.startswith("::") for line in out.splitlines())
    assert check(capsys, "train.py:sound", "--format", "github")[:2] == (0, "")


def test_a_report_of_the_whole_inspection(folder, capsys):
    assert check(capsys, "train.py:make", "-o", "check.html")[0] == 1
    page = (folder / "check.html").read_text()
    assert "Vanishing gradient" in page
    assert "<svg" in page
