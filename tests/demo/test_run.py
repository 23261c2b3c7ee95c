"""The demo tells its story: found, explained, cured, in both languages, in one small file."""

import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from undertow.demo import run, training
from undertow.demo.networks import exploding_network, sigmoid_network
from undertow.diagnosis import examine
from undertow.foundation import OutputError


@pytest.mark.parametrize(
    ("network", "kind", "cause"),
    [(sigmoid_network, "vanishing", "activation"), (exploding_network, "exploding", "weights")],
)
def test_each_network_shows_its_planted_fault_at_the_first_step(network, kind, cause):
    task = training(network, seed=0, steps=1)
    (finding,) = examine(task.model, task.batches[0], task.loss).findings
    assert (finding.kind, finding.cause, finding.where) == (kind, cause, "hidden1")


def test_a_file_that_cannot_be_written_is_refused_before_any_training(tmp_path):
    console = Console(record=True)
    with pytest.raises(OutputError):
        run("en", tmp_path / "no" / "demo.html", console)
    assert console.export_text() == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_whole_demo(tmp_path, lang):
    console, path = Console(record=True, width=100), tmp_path / "demo.html"
    assert run(lang, path, console) == 0
    printed, page = console.export_text(), path.read_text(encoding="utf-8")
    assert "×0.24" in printed
    assert "10⁻¹⁷" in printed
    assert len(page.encode()) < 1_000_000
    assert f'lang="{lang}"' in page
    assert not re.search(r"<script|<link|src=", page)
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)
