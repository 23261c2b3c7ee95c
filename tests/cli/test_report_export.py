"""`undertow report` and `undertow export` on run files that runs have left."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.cli.main import FINDINGS, FINE, WRONG_USE, main
from undertow.diagnosis import watch
from undertow.record.runfile import RunFile, read

STEPS = 12


def trained(path: Path, activation: type[nn.Module]) -> Path:
    torch.manual_seed(0)
    layers = [m for _ in range(8) for m in (nn.Linear(16, 16), activation())]
    model = nn.Sequential(*layers, nn.Linear(16, 2))
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, path=path, budget=None) as run:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = model(torch.randn(32, 16)).square().mean()
            loss.backward()
            optimizer.step()
            run.log(loss)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def sick(folder):
    return trained(folder / "sick.undertow", nn.Sigmoid)


@pytest.fixture(scope="module")
def healthy(folder):
    return trained(folder / "healthy.undertow", nn.ReLU)


@pytest.fixture
def shell(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_report_prints_the_diagnosis_and_exits_by_it(shell, sick, healthy):
    code, out, err = shell("report", sick)
    assert (code, err) == (FINDINGS, "")
    assert "Vanishing gradient" in out
    assert Path(sys.orig_argv[0]).name in out  # the command line that ran
    code, out, err = shell("report", healthy)
    assert (code, err) == (FINE, "")
    assert "No fault was found" in out


def test_report_in_korean(shell, sick):
    code, out, _ = shell("--lang", "ko", "report", sick)
    assert code == FINDINGS
    assert "실행 환경" in out


@pytest.mark.parametrize(("suffix", "begins"), [("html", "<!doctype html>"), ("md", "# What"), ("txt", "What sick")])
def test_report_writes_the_format_that_the_name_asks_for(shell, sick, tmp_path, suffix, begins):
    code, out, _ = shell("report", sick, "-o", tmp_path / f"r.{suffix}")
    assert (code, out) == (FINDINGS, f"written: {tmp_path / f'r.{suffix}'}\n")
    text = (tmp_path / f"r.{suffix}").read_text(encoding="utf-8")
    assert text.lower().startswith(begins.lower())
    assert "Vanishing gradient" in text


def test_report_as_json_has_the_numbers(shell, sick):
    code, out, _ = shell("report", sick, "--format", "json")
    assert code == FINDINGS
    told, diagnosis = json.loads(out), ut.load(sick).diagnose()
    model = told["models"]["model"]
    assert told["run"]["torch"] == torch.__version__
    assert [f["kind"] for f in model["findings"]] == [f.kind for f in diagnosis.findings]
    assert model["findings"][0]["evidence"][0]["value"] == diagnosis.findings[0].evidence[0].value
    assert [e["backward"]["rms"] for e in model["ledger"]["entries"]] == [e.backward_rms for e in diagnosis.ledger]
    assert (model["steps"], model["healthy"]) == (STEPS, False)


def test_report_of_several_models_and_of_one_of_them(shell, folder, sick, healthy):
    path = folder / "both.undertow"
    if not path.exists():
        with closing(RunFile(path)) as file:
            for name, source in (("generator", healthy), ("critic", sick)):
                recording = read(source).recordings[0]
                recording.name = name
                file.follow(recording)
    code, out, _ = shell("report", path, "--format", "markdown")
    assert code == FINDINGS
    assert [line for line in out.splitlines() if line.startswith("## ")] == [
        "## Model generator",
        "## Model critic",
        "## Where it ran",
    ]
    assert shell("report", path, "--model", "generator")[0] == FINE
    code, _, err = shell("report", path, "--model", "critc")
    assert code == WRONG_USE
    assert "generator or critic" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["report", "nothing.undertow"], "where no file is"),
        (["report", "SICK", "-o", "a.docx"], "ends in .html"),
        (["report", "SICK", "-o", "no/such/a.html"], "a file in a folder"),
        (["export", "nothing.undertow", "--to", "csv"], "where no file is"),
        (["export", "SICK", "--to", "csv", "-o", "SICK"], "a folder"),
    ],
)
def test_what_can_not_be_is_one_line(shell, sick, arguments, named):
    code, out, err = shell(*(sick if a == "SICK" else a for a in arguments))
    assert (code, out) == (WRONG_USE, "")
    assert named in err
    assert err.count("\n") == 1


def test_report_of_a_run_in_which_nothing_was_seen(shell, tmp_path):
    RunFile(tmp_path / "empty.undertow").close()
    code, out, err = shell("report", tmp_path / "empty.undertow")
    assert (code, out) == (WRONG_USE, "")
    assert "no model was observed" in err


def test_csv_has_the_numbers_as_they_are(shell, sick, tmp_path):
    code, out, _ = shell("export", sick, "--to", "csv", "-o", tmp_path / "numbers")
    assert code == FINE
    assert len(out.splitlines()) == len(list((tmp_path / "numbers").iterdir()))
    recording = read(sick).recordings[0]

    def table(name):
        with (tmp_path / "numbers" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    assert [float(r["gradient_norm"]) for r in table("steps")] == [s.gradient_norm for s in recording.steps]
    assert [float(r["value"]) for r in table("losses")] == [r.value for r in recording.losses]
    told = {(r["step"], r["name"]): float(r["rms"]) for r in table("readings") if r["what"] == "backward"}
    assert told == {(str(s.step), e.site.name): e.backward_rms for s in recording.snapshots for e in s.ledger}
    assert {r["model"] for r in table("ledger")} == {"model"}
    assert next(r["value"] for r in table("run") if r["key"] == "torch") == torch.__version__


def test_csv_goes_beside_the_run_file(shell, sick):
    assert shell("export", sick, "--to", "csv")[0] == FINE
    assert (sick.parent / "sick-csv" / "steps.csv").is_file()


def test_parquet_has_types(shell, sick, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert shell("export", sick, "--to", "parquet", "-o", tmp_path)[0] == FINE
    recording = read(sick).recordings[0]
    steps = parquet.read_table(tmp_path / "steps.parquet").to_pydict()
    assert steps["gradient_norm"] == [s.gradient_norm for s in recording.steps]
    readings = parquet.read_table(tmp_path / "readings.parquet")
    assert {f.name: str(f.type) for f in readings.schema}["rms"] == "double"
    with closing(sqlite3.connect(sick)) as db:
        assert (readings.num_rows,) == db.execute("SELECT count(*) FROM readings").fetchone()


@pytest.mark.filterwarnings("ignore")  # tensorboard's own
def test_tensorboard_reads_the_scalars(shell, sick, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert shell("export", sick, "--to", "tensorboard", "-o", tmp_path)[0] == FINE
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    recording = read(sick).recordings[0]
    losses = [(e.step, e.value) for e in events.Scalars("loss")]
    assert losses == [(r.step, pytest.approx(r.value)) for r in recording.losses]
    backward = [e.value for e in events.Scalars("backward_rms/0#0")]
    assert backward == [pytest.approx(s.ledger["0"].backward_rms) for s in recording.snapshots]


@pytest.mark.parametrize(("target", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_named_before_anything_is_written(shell, sick, tmp_path, monkeypatch, target, package):
    from undertow.record.runfile import export

    def absent(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(export, "import_module", absent)
    code, out, err = shell("export", sick, "--to", target, "-o", tmp_path / "out")
    assert (code, out) == (WRONG_USE, "")
    assert f"the package {package}" in err
    assert "pip install 'undertow[export]'" in err
    assert not (tmp_path / "out").exists()
