"""`undertow criticality`: what it prints, draws and refuses."""

import json

import pytest

from undertow.cli.main import FINE, WRONG_USE, main


def test_the_usual_initialisations_each_with_its_verdict(capsys):
    assert main(["criticality", "gelu"]) == FINE
    out = capsys.readouterr().out
    table = [line.split("\t") for line in out.splitlines() if "\t" in line]
    assert [row[0] for row in table[1:]] == [
        "torch's default at width 512",
        "forward gain, no biases",
        "backward gain, no biases",
        "critical",
        "half-stable critical point",
    ]
    assert table[4][1:7] == ["2.194", "0.06719", "1", "1.067", "1", "1"]
    assert "critical: The variance 1 repels (χ∥ = 1.067)" in out


def test_ones_own_in_korean(capsys):
    assert main(["criticality", "tanh", "--sigma-w2", "1.5", "--sigma-b2", "0.05", "--lang", "ko"]) == FINE
    out = capsys.readouterr().out
    own = next(line for line in out.splitlines() if line.startswith("주어진 값\t")).split("\t")
    assert own[3:6] == ["0.418", "0.552", "0.9386"]
    assert "주어진 값: 분산은 0.418에 자리 잡습니다" in out


def test_json_and_a_figure(capsys, tmp_path):
    path = tmp_path / "phase.svg"
    assert main(["criticality", "relu", "--json", "-o", str(path)]) == FINE
    out, err = capsys.readouterr()
    found = {row["choice"]: row for row in json.loads(out)}
    assert found["both"]["sigma_w2"] == pytest.approx(2)
    assert found["both"]["trainable_depth"] == "inf"
    assert found["torch"]["per_layer"] == pytest.approx(0.408, abs=1e-3)
    assert str(path) in err
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rellu"], "'relu'"),
        (["softmax"], "couples several elements"),
        (["tanh", "--sigma-b2", "0.1"], "--sigma-w2"),
        (["tanh", "--sigma-w2", "-1"], "above 0"),
        (["tanh", "-o", "phase.txt"], ".svg, .png or .pdf"),
    ],
)
def test_wrong_use_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["criticality", *arguments]) == WRONG_USE
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == "" or arguments[-1] == "phase.txt"
