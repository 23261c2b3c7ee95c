"""Blocks made from objects, on the terminal and on the page."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import nn

from undertow.diagnosis import Diagnosis, Evidence, examine
from undertow.foundation import InputError, OutputError, language
from undertow.probe.graph import sigmoid_chain
from undertow.record import Ledger, NotObserved
from undertow.report import compose, ledger_table, print_document, verdict_table
from undertow.report.document import (
    Bar,
    Callout,
    Card,
    Code,
    Document,
    EvidenceRow,
    Figure,
    Heading,
    Number,
    Paragraph,
    Text,
)
from undertow.report.figures import backprop, curves, depth_profile, trials
from undertow.report.html import html
from undertow.report.terminal import bar

EVIL = "<script>alert('x')</script>&"
ROWS = (EvidenceRow("mean slope", 0.24, "0.5 to 1", "theory", False), EvidenceRow("loss change", 1e-5))


@pytest.fixture(scope="module")
def document(ledger, verdicts) -> Document:
    figures = (
        backprop(sigmoid_chain()),
        backprop(ledger, last=5),
        curves("sigmoid"),
        curves("sigmoid"),
        depth_profile(ledger),
        depth_profile(ledger),
        trials(verdicts),
    )
    cards = tuple(
        Card(severity, EVIL, "because", ROWS, ROWS[1:], "if not", ("relu",))
        for severity in ("critical", "warning", "note")
    )
    return Document(
        "Report " + EVIL,
        "en",
        (
            Heading("Findings"),
            *cards,
            Heading("Ledger"),
            Paragraph(EVIL),
            ledger_table(ledger),
            verdict_table(verdicts),
            Heading("Lines", 3),
            Code(f"model = {EVIL}"),
            Callout(EVIL, "warn"),
            *(Figure(f, f"caption {EVIL}", f"alt {EVIL}") for f in figures),
        ),
        "subtitle",
    )


@pytest.fixture(scope="module")
def text(document) -> str:
    return html(document)


class Page(HTMLParser):
    """What a page is made of; complains about a tag that is closed and was not opened last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id" and v]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_self_contained_and_well_formed(text) -> None:
    page = Page(text)
    assert not page.open
    assert not [t for t, _ in page.tags if t in ("script", "link", "iframe", "object", "img")]
    for _, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "xlink:href"):
                assert (value or "").startswith("#")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_every_reference_has_its_target(text) -> None:
    page = Page(text)
    assert len(page.ids) > 20, "matplotlib's figures bring ids"
    assert len(page.ids) == len(set(page.ids))
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | {v[1:] for _, a in page.tags if (v := a.get("xlink:href"))}
    assert referred
    assert referred <= set(page.ids)


def test_page_escapes_what_a_user_wrote(text) -> None:
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6


def test_page_is_accessible(text) -> None:
    page = Page(text)
    assert dict(page.tags[0][1]) == {"lang": "en"}
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert all(a.get("scope") in ("col", "row") for t, a in page.tags if t == "th")
    assert all(a.get("role") == "img" and a.get("aria-label") for t, a in page.tags if t == "svg")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_page_in_korean(document) -> None:
    text = html(replace(document, lang="ko"))
    assert '<html lang="ko">' in text
    assert "반대 근거" in text
    assert "Counter-evidence" not in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("code", ["en", "ko"])
def test_terminal(document, width: int, code: str) -> None:
    out = io.StringIO()
    print_document(replace(document, lang=code), Console(file=out, width=width, color_system=None))
    text = out.getvalue()
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    assert EVIL in text
    assert "×1.3×10⁻¹⁷" in text
    assert ("CRITICAL" if code == "en" else "심각") in text
    lines = [line for line in text.splitlines() if "layers.38" in line]
    assert len(lines) == 1, "a layer stays on one line"
    assert "█" in lines[0]


def test_bars_are_on_a_log_scale() -> None:
    assert bar(1.0, 1e-4, 1.0, 8) == "█" * 8
    assert bar(1e-2, 1e-4, 1.0, 8) == "█" * 4 + " " * 4
    assert bar(1e-4, 1e-4, 1.0, 8) == " " * 8
    assert bar(0.0, 1e-4, 1.0, 8) == bar(float("nan"), 1e-4, 1.0, 8) == " " * 8
    assert bar(float("inf"), 1e-4, 1.0, 8) == "█" * 8
    assert bar(10**-1.75, 1e-4, 1.0, 8) == "█" * 4 + "▌" + " " * 3


def test_ledger_table_has_a_row_a_layer_and_the_product(ledger) -> None:
    table = ledger_table(ledger)
    assert len(table.rows) == 22
    first, product, measured = table.rows[0], table.rows[-2], table.rows[-1]
    assert first.cells[0] == Text("layers.0 (linear) → sigmoid", code=True)
    assert isinstance(first.cells[2], Bar)
    assert first.cells[2].value == ledger.path[0].backward_rms
    assert product.cells[3] == Number(ledger.product, 2, times=True)
    assert measured.cells[3] == Number(ledger.end_to_end, 2, times=True)
    assert ledger.product == pytest.approx(ledger.end_to_end, rel=1e-9)
    titles = [c.title for c in table.columns]
    assert titles == ["layer", "forward rms", "backward rms", "factor", "activation", "weights"]


def test_ledger_table_shows_other_factors_only_where_there_are_some(ledger) -> None:
    entries = list(ledger.entries)
    entries[3] = replace(entries[3], branching=1.2)
    titles = [c.title for c in ledger_table(Ledger(tuple(entries))).columns]
    assert titles[-1] == "branching"
    assert "normalisation" not in titles


def test_long_ledgers_are_thinned_and_say_so(ledger_of) -> None:
    long = ledger_of(100)
    table = ledger_table(long)
    assert len(table.rows) == 12 + 1 + 12 + 2
    assert "76 of 100 layers" in table.note
    assert table.rows[-2].cells[3] == Number(long.product, 2, times=True)


def test_evidence_ranges_are_written() -> None:
    ranges = ((0.5, 2), (0.5, None), (None, 2), (None, None))
    made = [compose._evidence(Evidence("flat_share", 1.0, low, high)) for low, high in ranges]
    assert [e.expected for e in made] == ["0.5 to 2", "at least 0.5", "at most 2", ""]
    assert not compose._evidence(Evidence("flat_share", 9.0, None, 2)).within


def test_verdict_table(verdicts) -> None:
    table = verdict_table(verdicts)
    assert len(table.rows) == 4
    assert "3 seeds, 100 steps" in table.caption
    assert table.rows[3].cells[4] == Text("–")
    assert table.rows[1].cells[6] == Text("still there: saturated")


def diagnosis(ledger) -> Diagnosis:
    return Diagnosis((), ledger, ledger, (NotObserved("head.weight", "frozen"),), overhead=0.013)


@pytest.mark.parametrize("code", ["en", "ko"])
def test_a_diagnosis_becomes_a_document(ledger, code: str) -> None:
    with language(code):
        made = compose.diagnosis_document(diagnosis(ledger))
    assert made.lang == code
    text = html(made)
    assert "head.weight" in text
    assert "1.3 %" in text
    assert "<svg" in text


def test_a_run_shows_its_first_and_last_ledger(ledger, ledger_of) -> None:
    made = compose.diagnosis_document(Diagnosis((), Ledger(ledger_of(slope=0.5).entries, 9), ledger))
    figure = next(b for b in made.blocks if isinstance(b, Figure))
    assert "step 0" in figure.svg
    assert "step 9" in figure.svg


def test_report_is_the_room_and_the_function(ledger, tmp_path) -> None:
    import undertow as ut

    assert issubclass(type(ut.report), ModuleType)
    assert ut.report(diagnosis(ledger), tmp_path / "a.html") == tmp_path / "a.html"
    importlib.import_module("undertow.report.html")
    ut.report(diagnosis(ledger), str(tmp_path / "b.html"))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    from undertow.report import report

    assert callable(report)


@pytest.mark.parametrize("first", ["import undertow.report.html", "from undertow.report import report"])
def test_report_can_be_called_whatever_came_first(first: str, tmp_path) -> None:
    code = f"{first}\nimport undertow as ut\nprint(callable(ut.report), ut.report.html.html.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment())
    assert run.stdout.split() == ["True", "html"], run.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_what_no_report_can_be_written_to(ledger, tmp_path) -> None:
    import undertow as ut

    with pytest.raises(InputError, match=r"ends in \.html"):
        ut.report(diagnosis(ledger), tmp_path / "a.docx")
    with pytest.raises(InputError, match="a Diagnosis"):
        ut.report(ledger, tmp_path / "a.html")
    with pytest.raises(OutputError, match="expected a file in a folder"):
        ut.report(diagnosis(ledger), tmp_path / "missing" / "a.html")


def test_a_real_finding_becomes_a_card() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    batch = torch.randn(32, 16), torch.randint(4, (32,))
    found = examine(nn.Sequential(*layers, nn.Linear(16, 4)), batch, nn.functional.cross_entropy)
    finding = next(f for f in found.findings if f.kind == "vanishing")
    for code in ("en", "ko"):
        with language(code):
            card = compose.finding_card(finding)
            page = html(Document("x", code, (card,)))
        assert card.severity == finding.severity
        assert card.because == page.split('class="because">')[1].split("</p>")[0].replace("&lt;", "<")
        assert len(card.evidence) == len(finding.evidence)
        assert any(not e.within for e in card.evidence)
        assert finding.cures == card.cures
