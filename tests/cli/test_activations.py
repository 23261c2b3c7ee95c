"""`undertow activations`: what is listed, chosen, shown, compared and drawn."""

import json
import math
import re
import sys
from xml.etree import ElementTree

import pytest

from undertow.activations import Pointwise, activation, names
from undertow.cli import activations, table
from undertow.cli.main import FINE, WRONG_USE, main
from undertow.report.activations import PROPERTIES, datasheet, facts


@pytest.fixture
def shell(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in ("activations", *arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def listed(shell, *arguments):
    code, out, err = shell("list", *arguments)
    assert (code, err) == (FINE, "")
    return [line.split("\t")[0] for line in out.splitlines()]


def test_list_has_a_line_for_every_function(shell):
    code, out, _ = shell("list")
    assert code == FINE
    lines = {line.split("\t")[0]: line.split("\t") for line in out.splitlines()}
    assert tuple(lines) == names()
    assert {len(cells) for cells in lines.values()} == {len(activations.LISTED)}
    assert "silu" in lines["swish"][1]
    assert lines["sigmoid"][2:5] == ["sigmoidal", "0 … 1", "1.846 / 4.723"]


def test_list_chooses_by_property_and_family(shell):
    chosen = listed(shell, "--with", "monotone", "--with", "bounded", "--without", "odd")
    assert "sigmoid" in chosen
    assert not {"tanh", "relu", "swish", "softmax"} & set(chosen)
    assert {"relu", "leaky_relu"} <= set(listed(shell, "--family", "rectified"))
    assert "sigmoid" not in listed(shell, "--family", "rectified")
    assert listed(shell, "--with", "odd", "--with", "even") == []
    assert set(listed(shell, "--with", "pointwise")) | set(listed(shell, "--without", "pointwise")) == set(names())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--with", "monotne"], "'monotone'"), (["--family", "gatd"], "gated"), (["--without", "x"], "17 known|18 known")],
)
def test_list_of_something_unknown(shell, arguments, named):
    code, out, err = shell("list", *arguments)
    assert (code, out) == (WRONG_USE, "")
    assert re.search(named, err)


def test_help_names_every_property():
    assert activations.PROPERTIES.split(", ") == list(PROPERTIES)


def test_each_function_can_be_said_in_each_language(shell):
    for name in names():
        act = activation(name)
        said = facts(datasheet(act))
        assert said["formula"] == act.formula
        assert said["reference"] == str(act.reference)
        assert ("range" in said) == isinstance(act, Pointwise)
    code, out, _ = shell("show", "swish", "--lang", "ko")
    assert code == FINE
    assert "−1.27846에서 극솟값 −0.278465" in out
    assert "방향을 바꿉니다" in out


def test_show_prints_measured_facts(shell):
    out = shell("show", "logistic")[1]
    assert "range of f: 0 … 1\n" in out
    assert "range of f′: 0 … 0.25\n" in out
    assert "inverse: yes, strictly monotone\n" in out
    relu = shell("show", "relu")[1]
    assert "kinks at: 0\n" in relu
    assert "f′ = 0 on: (−∞, 0]\n" in relu
    assert "asymptotes at −∞, +∞: y = 0, y = x\n" in relu
    assert f"{math.sqrt(2):.4f} keeps the signal" in relu  # He et al. (2015)
    swish = shell("show", "swish")[1]
    assert "extrema of f: minimum −0.278465 at −1.27846\n" in swish
    assert "inverse: none: f turns at x = −1.27846\n" in swish
    assert "couples several elements" in shell("show", "softmax")[1]


def test_show_of_an_unknown_name(shell):
    code, out, err = shell("show", "swich")
    assert (code, out) == (WRONG_USE, "")
    assert "'swish'" in err


def test_json_is_what_was_measured(shell):
    data = json.loads(shell("show", "silu", "--json")[1])
    assert data["name"] == "swish"
    assert data["parameters"] == {"beta": 1.0}
    assert data["traits"]["limits"] == [0.0, "inf"]
    assert data["landmarks"]["extrema"][0]["x"] == pytest.approx(-1.278464542761)
    assert data["gaussian"]["forward_gain"] == pytest.approx(1.676532, abs=1e-6)
    softmax = json.loads(shell("show", "softmax", "--json")[1])
    assert softmax["traits"] is None
    every = json.loads(shell("list", "--json", "--family", "sigmoidal")[1])
    assert {"sigmoid", "tanh"} <= {one["name"] for one in every}
    assert [one["name"] for one in json.loads(shell("compare", "relu", "elu", "--json")[1])] == ["relu", "elu"]


def test_compare_sets_side_by_side(shell, tmp_path):
    code, out, err = shell("compare", "sigmoid", "tanh", "-o", tmp_path / "c.svg")
    assert (code, err) == (FINE, "")
    rows = {cells[0]: cells[1:] for line in out.splitlines()[:-1] if (cells := line.split("\t"))}
    assert rows[""] == ["sigmoid", "tanh"]
    assert rows["range of f"] == ["0 … 1", "−1 … 1"]
    assert rows["zeros of f"] == ["", "0"]
    words = " ".join(
        t.text or "" for t in ElementTree.parse(tmp_path / "c.svg").iter("{http://www.w3.org/2000/svg}text")
    )
    for said in ("function f", "derivative f′", "second derivative f″", "sigmoid", "tanh"):
        assert said in words


def test_compare_of_what_cannot_be_measured_or_written(shell, tmp_path):
    assert "couples several elements" in shell("compare", "softmax", "relu")[1]
    code, out, err = shell("compare", "relu", "gelo")
    assert (code, out) == (WRONG_USE, "")
    assert "'gelu'" in err
    assert shell("compare", "relu", "-o", tmp_path / "no" / "c.svg")[:2] == (WRONG_USE, "")


def test_plot_writes_what_the_suffix_names(shell, tmp_path):
    code, out, _ = shell("plot", "relu", "leaky-relu", "-o", tmp_path / "a.svg")
    assert code == FINE
    assert str(tmp_path / "a.svg") in out
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    code, _, err = shell("plot", "relu", "nothing", "-o", tmp_path / "b.svg")
    assert code == WRONG_USE
    assert "'nothing'" in err
    assert not (tmp_path / "b.svg").exists()


def test_a_terminal_gets_a_ruled_table(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    table.print_table(["name", "range"], [["[relu]", "0 … ∞"]], heading=False)
    out = capsys.readouterr().out
    assert "name" in out
    assert "[relu]" in out, "brackets are no markup"
    assert "──" in out


def test_gains_are_printed_beside_torchs_and_timms(shell):
    code, out, err = shell("gains")
    assert (code, err) == (FINE, "")
    rows = {line.split("\t")[0]: line.split("\t") for line in out.splitlines()}
    assert rows["tanh"][1:] == [
        "1.5925",
        "1.4674",
        "1.5925",
        "1.1778",
        "0.46107",
        "1.6667 (+4.65 %)",
        "1.5939 (+0.09 %)",
    ]
    assert rows["relu"][6] == "1.4142"
    assert rows["mish"][6:] == ["", ""]
    code, out, _ = shell("gains", "--json")
    assert {row["name"]: row for row in json.loads(out)}["sigmoid"]["backward"] == pytest.approx(4.7226, abs=1e-4)
