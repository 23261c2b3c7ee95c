"""The generated pages say what the cures say; `make docs` writes them anew."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from undertow.cures import Cure
from undertow.foundation import LANGUAGES, language

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))

from cure_pages import each, index, sections  # noqa: E402

FOLDER = ROOT / "docs" / "cures"


@pytest.mark.parametrize("cure", each(), ids=lambda cure: cure.name)
def test_the_page_has_the_texts_of_its_cure_and_a_change_in_code(cure: Cure) -> None:
    page = (FOLDER / f"{cure.name}.md").read_text(encoding="utf-8")
    texts = dict(sections(cure))
    assert set(texts) == {"", "When", "Why", "Not", "Source"}
    assert [heading for heading, text in texts.items() if text not in page] == []
    assert cure.why in page
    assert re.search(r"## In code\n\n.*?\n\n```(diff\n---|python\n)", page, re.S), "no file of tools/cure_examples fits"


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_list_names_every_cure(code: str) -> None:
    folder = FOLDER if code == "en" else FOLDER / code
    with language(code):
        assert (folder / "README.md").read_text(encoding="utf-8") == index(), "run `make docs`"


def test_there_is_a_page_for_each_cure_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {"README", *(cure.name for cure in each())}
