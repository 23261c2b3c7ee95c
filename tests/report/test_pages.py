"""Pages of the functions: up to date with the definitions, in both languages, with code that runs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from undertow.activations import ACTIVATIONS, Activation, Custom, activation, define, names
from undertow.foundation import knows, language
from undertow.foundation.messages import catalogue
from undertow.report.activations import datasheet, facts, families
from undertow.report.activations.advice import avoid, use
from undertow.report.activations.page import gallery, page, write_pages

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "activations"
ARTICLE = ("sigmoid", "tanh", "relu", "swish")
"""The functions of the article, of which the Korean text is promised."""


def formulas(act: Activation) -> tuple[str, ...]:
    return act.formula, act.derivative_formula, act.second_derivative_formula


@pytest.mark.parametrize("folder", ["", "ko"])
def test_there_is_a_page_for_each_function_and_no_other(folder: str) -> None:
    there = {path.stem for path in (PAGES / folder).glob("*.md")}
    assert there == {"README", *names()}, "run `make docs`"
    assert {path.stem for path in (PAGES / "figures").glob("*.svg")} == set(names())


def test_the_pages_have_the_formulas_and_the_words_of_today() -> None:
    for name in names():
        act, said = activation(name), (PAGES / f"{name}.md").read_text(encoding="utf-8")
        for formula in formulas(act):
            assert f"```math\n{formula}\n```" in said, f"{name}: run `make docs`"
        assert str(act.reference.year) in said
        korean = (PAGES / "ko" / f"{name}.md").read_text(encoding="utf-8")
        assert "## 언제 쓰지 않는가" in korean or "## 언제 쓰는가" in korean, name
    for name in ARTICLE:
        written = (PAGES / "ko" / f"{name}.md").read_text(encoding="utf-8")
        assert catalogue("ko")[f"advice.{name}.use"] in written
        assert catalogue("ko")[f"advice.{name}.avoid"] in written


def test_links_and_pictures_lead_somewhere() -> None:
    for path in (PAGES / "README.md", PAGES / "ko" / "README.md", PAGES / "gelu.md", PAGES / "ko" / "gelu.md"):
        text = path.read_text(encoding="utf-8")
        links = [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'(?:src|href)="([^"]+)"', text)]
        assert links
        for link in links:
            assert link.startswith("https://") or (path.parent / link).resolve().exists(), link


def test_every_advice_is_on_a_function_there_is() -> None:
    advised = {key.split(".")[1] for key in catalogue("en") if key.startswith("advice.")}
    assert advised <= set(names())
    assert len(advised) >= 25
    assert all(knows(f"advice.{name}.{part}") for name in advised for part in ("use", "avoid"))


def test_code_runs_and_formulas_are_what_github_shows() -> None:
    for name in names():
        act = activation(name)
        text = page(act)
        for formula in formulas(act):
            assert formula.count("{") == formula.count("}"), name
            assert formula.count(r"\left") == formula.count(r"\right"), name
            assert not re.search(r"\\(operatorname|require|def|newcommand)\b", formula), name
        (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
        done = {"x": torch.randn(2, 6, 4, 4)}
        exec(code, done)
        assert isinstance(done["y"], torch.Tensor), name
        assert isinstance(done["layer"], torch.nn.Module), name


def test_what_is_not_written_follows_from_what_was_measured() -> None:
    def said(function, *kinks: float) -> tuple[str, str]:
        sheet = datasheet(Custom("sigmoid", function, kinks))  # the name of one of ours, but not ours
        return " ".join(use(sheet)), " ".join(avoid(sheet))

    good, bad = said(lambda x: x.clamp(-2, 1), -2.0, 1.0)
    assert "Its outputs stay in −2 … 1." in good
    assert "f′ is exactly 0 on (−∞, −2]" in bad
    assert "f′ is exactly 0 on [1, ∞)" in bad
    assert "f′ goes to 0" not in bad
    good, bad = said(lambda x: x * torch.sigmoid(2 * x))
    assert "f′ goes to 1 at ∞" in good
    assert "f′ goes to 0 at −∞" in bad
    assert "It is not monotone: it turns at x = −0.639232" in bad
    good, bad = said(lambda x: x + x**3)
    assert "strictly monotone" in good
    assert "mean output is 0" in good
    assert "f′ grows without bound" in bad
    assert "f jumps" in said(lambda x: torch.where(x > 0, x + 1, x), 0.0)[1]


@pytest.fixture
def own() -> Iterator[Custom]:
    yield define("own bump", lambda x: torch.exp(-x * x), formula=r"e^{-x^2}")
    ACTIVATIONS.remove("own bump")


def test_a_function_of_the_users_own_has_all_of_this(own: Custom) -> None:
    text = page(own)
    assert text.startswith("# own bump\n\n<img")
    assert "```math\ne^{-x^2}\n```" in text
    assert "| range of f | 0 … 1 |" in text
    assert "| extrema of f | maximum 1 at 0 |" in text
    assert "| inflections at | −0.707107, 0.707107 |" in text
    with language("ko"):
        assert "| f의 범위 | 0 … 1 |" in page(own)
    said = facts(datasheet(activation("own-bump")))
    assert said["family"] == "custom"
    assert "parameters" not in said
    assert families()["custom"] == ["own bump"]
    assert datasheet(own).as_data()["landmarks"]["zeros"] == []


def test_what_is_written_is_what_is_committed_and_accuracies_have_a_place(tmp_path: Path) -> None:
    table = "| dtype | ulp |\n| --- | --- |\n| float32 | 0.5 |"
    files = write_pages(tmp_path, {"tanh": table})
    committed = {path.relative_to(PAGES) for path in PAGES.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in files} == committed, "run `make docs`"
    assert f"](../accuracy.md).\n\n{table}" in (tmp_path / "tanh.md").read_text(encoding="utf-8")
    assert f"](../../accuracy.md)에 있습니다(영어).\n\n{table}" in (tmp_path / "ko" / "tanh.md").read_text(
        encoding="utf-8"
    )
    assert "Accuracy" not in (tmp_path / "relu.md").read_text(encoding="utf-8")


def test_rows_on_a_function_are_read_from_a_page_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    first, second = "| function | ulp |\n| --- | --- |\n", "| function | f |\n| --- | --- |\n"
    file = tmp_path / "accuracy.md"
    file.write_text(f"# A\n{first}| `elu` | 1 |\n| gelu | 2 |\n| elu | 3 |\n\ntext\n\n{second}| elu | 4 |\n")
    assert tool.tables(file) == {
        "elu": f"{first}| `elu` | 1 |\n| elu | 3 |\n\n{second}| elu | 4 |",
        "gelu": f"{first}| gelu | 2 |",
    }
    assert tool.tables(tmp_path / "none.md") == {}


def test_the_gallery_shows_each_function_once() -> None:
    text = gallery()
    for name in names():
        assert text.count(f'<a href="{name}.md">') == 1
