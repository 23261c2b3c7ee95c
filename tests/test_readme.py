"""What the README tells a reader to type works, and both languages tell the same."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.cli.main import main
from undertow.foundation import Cause, Kind, Severity

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.ko.md")


def blocks(readme: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


EXAMINE, WATCH, FORECAST = blocks("README.md", "python")
LINES = [line for block in blocks("README.md", "sh") for line in block.splitlines() if line.startswith("undertow")]
ON_A_RUN = [line for line in LINES if "train.py" in line or ".undertow" in line]
COMMANDS = [line for line in LINES if line not in ON_A_RUN]
TRAIN = """
import torch, undertow
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.05)
for _ in range(20):
    x = torch.randn(32, 4)
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
    optimizer.step()
def make(seed):
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    x = torch.randn(40, 32, 4)
    batches = [(b, b.sum(1, keepdim=True)) for b in x]
    return undertow.Training(model, torch.optim.SGD(model.parameters(), 0.05), torch.nn.functional.mse_loss, batches)
"""


@pytest.mark.parametrize("language", ["python", "text", "sh"])
def test_both_languages_show_the_same_code(language):
    english, korean = (blocks(readme, language) for readme in READMES)
    assert english
    assert english == korean


def test_python_lines_print_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(EXAMINE, {})
    assert capsys.readouterr().out == blocks("README.md", "text")[0]
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_forecast_lines_print_what_the_readme_shows(capsys):
    exec(FORECAST, {})
    assert capsys.readouterr().out == blocks("README.md", "text")[1]


def test_watch_lines_run_around_a_training_loop(capsys):
    model = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(64, 64), nn.Sigmoid())])
    data = [(torch.randn(32, 64), torch.randint(0, 10, (32,))) for _ in range(3)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    names = {"ut": ut, "model": model, "optimizer": optimizer, "batches": data, "loss": nn.CrossEntropyLoss()}
    exec(WATCH, names)
    assert "kind='vanishing'" in capsys.readouterr().out


@pytest.mark.parametrize("line", COMMANDS)
def test_shell_lines_run(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)[1:]
    if arguments == ["demo"]:
        arguments.append("--help")  # the demo itself takes a minute, and has a test of its own
    assert main(arguments) == 0
    assert capsys.readouterr().out
    written = arguments[arguments.index("-o") + 1] if "-o" in arguments else None
    assert [p.name for p in tmp_path.iterdir()] == ([written] if written else [])


def test_a_script_runs_unedited_as_the_readme_shows(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    for line in ON_A_RUN:
        command = [sys.executable, "-m", "undertow", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout + done.stderr
        if line.startswith("undertow run"):
            for name in ("before", "after"):
                shutil.copy(tmp_path / "run.undertow", tmp_path / f"{name}.undertow")
    assert "</html>" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    named = [line.split()[1] for line in blocks("README.md", "sh")[0].splitlines()]
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", [*READMES, *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_to_files_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", ["docs/article.md", "docs/article.ko.md"])
def test_the_articles_table_names_every_test_and_no_other(page):
    defined = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/article/test_article.py").read_text("utf-8"), re.M))
    assert set(re.findall(r"`(test_\w+)`", (ROOT / page).read_text(encoding="utf-8"))) == defined


@pytest.mark.parametrize("number", [0, 1])
def test_ledger_page_prints_what_it_shows(capsys, number):
    exec(blocks("docs/ledger.md", "python")[number], {})
    assert capsys.readouterr().out == blocks("docs/ledger.md", "text")[number]


def test_diagnosis_page_explains_every_word():
    page = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")
    words = {*get_args(Kind), *get_args(Severity), *get_args(Cause)} - {"none"}
    assert {word for word in words if f"`{word}`" not in page} == set()
