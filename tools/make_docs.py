"""Write docs/activations/ from the definitions: a page and a figure for each function, the gallery, each language.

And docs/rules/ and docs/cures/, a page for each rule and cure; docs/gains.md, all gains beside those in use; the figure
of docs/criticality.md.
"""

from __future__ import annotations

from pathlib import Path

from cure_pages import write_cures
from rule_pages import write_rules

from undertow.report.activations import gain_table
from undertow.report.activations.page import write_pages
from undertow.report.figures import phase_diagram, save

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    folder = DOCS / "activations"
    written = set(write_pages(folder, tables(DOCS / "accuracy.md")))
    gone = [path for path in folder.rglob("*") if path.is_file() and path not in written]
    for path in gone:  # pages of functions that are no more
        path.unlink()
    (DOCS / "gains.md").write_text(gain_table.page(), encoding="utf-8")
    write_rules(DOCS / "rules")
    write_cures(DOCS / "cures")
    save(phase_diagram("gelu"), DOCS / "phase-gelu.svg")
    print(f"{folder}: {len(written)} files written, {len(gone)} removed")


def tables(page: Path) -> dict[str, str]:
    """The rows on each function of the tables on a Markdown page, under their headings."""
    if not page.exists():
        return {}
    found: dict[str, list[str]] = {}
    head: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head = []
        elif len(head) < 2:
            head.append(line)
        else:
            name = line.split("|")[1].strip(" `")
            rows = found.setdefault(name, [])
            rows += [line] if head[0] in rows else ["", *head, line]
    return {name: "\n".join(rows).strip() for name, rows in found.items()}


if __name__ == "__main__":
    main()
