"""The generated pages say what the rules say; `make docs` writes them anew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from undertow.diagnosis import Rule, all_rules

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))

from rule_pages import index, origins, sections  # noqa: E402


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)
def test_the_page_has_the_texts_and_thresholds_of_its_rule(rule: Rule) -> None:
    page = (ROOT / "docs" / "rules" / f"{rule.name}.md").read_text(encoding="utf-8")
    assert [heading for heading, text in sections(rule) if f"## {heading}\n\n{text}" not in page] == []
    assert [name for name, origin in origins(rule).items() if f"| `{name}` |" not in page or origin not in page] == []
    assert "Nothing is found." in page.partition("looks alike and is healthy")[2]


def test_the_list_names_every_rule() -> None:
    assert (ROOT / "docs" / "rules" / "README.md").read_text(encoding="utf-8") == index()
