"""docs/cures/: a page for each cure, from its docstring, its sentences, and what it changes in a small user's file.

The list of all is written in every language; the pages' sections are the docstrings, in English.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from undertow.cures import Cure, Training, all_cures
from undertow.cures.patching import patched
from undertow.cures.trials.seeding import seed_everything
from undertow.foundation import LANGUAGES, current_language, language, say
from undertow.foundation.numbers import written

ROOT = Path(__file__).parents[1]
RESULTS, EXAMPLES = ROOT / "benchmarks" / "results", ROOT / "tools" / "cure_examples"
FILES = (
    *("chain", "cut_output", "images", "rnn", "lstm", "transformer", "residual_blocks"),
    *("detached", "threshold", "logarithm", "root", "one_unit", "probabilities", "over_batch"),
    *("left_out", "stretches", "attention"),
)
"""A page shows its cure on the first of them that it can change, so the plainest come first."""
SECTIONS = ("When", "Why", "Not", "Source")
_MOST = 12
"""Runs of the score that a page shows."""
_NOTE = "This page is generated: `make docs`."


def write_cures(folder: Path) -> None:
    """Write the page of every cure and the lists, and remove the pages of cures that are no more."""
    pages = {folder / f"{cure.name}.md": page(cure) for cure in each()}
    for code in LANGUAGES:
        with language(code):
            pages[folder / ("" if code == "en" else code) / "README.md"] = index()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in set(folder.rglob("*.md")) - set(pages):
        path.unlink()
    print(f"{folder}: {len(pages)} files written")


def each() -> list[Cure]:
    """Every cure once, with its first setting."""
    first: dict[str, Cure] = {}
    for cure in all_cures():
        first.setdefault(cure.name, cure)
    return list(first.values())


def index() -> str:
    """The list of all cures in the current language."""
    up = "" if current_language() == "en" else "../"
    rows = [f"| [{c.name}]({up}{c.name}.md) | {c.title} | {_kinds(c)} | {c.why} |" for c in each()]
    columns = " | ".join(say(f"cure.gallery.{name}") for name in ("cure", "change", "treats", "why"))
    parts = [
        f"# {say('cure.gallery.title')}",
        say("cure.gallery.other"),
        say("cure.gallery.text", count=len(rows), up=up),
        "\n".join([f"| {columns} |", "| --- | --- | --- | --- |", *rows]),
        say("cure.gallery.generated"),
    ]
    return "\n\n".join(parts) + "\n"


def page(cure: Cure) -> str:
    """One cure: what it changes, its sections, its change of a small file, and how it did in the score."""
    texts = dict(sections(cure))
    source = Path(inspect.getfile(type(cure))).relative_to(ROOT)
    parts = [
        f"# {cure.name}",
        f"**{cure.title[0].upper()}{cure.title[1:]}.** {cure.why}",
        f"Meant for {_kinds(cure)}; [source](../../{source}), [all cures](README.md).",
        texts.pop(""),
        *(f"## {heading}\n\n{text}" for heading, text in texts.items()),
        _settings(cure),
        _change(cure),
        _score(cure),
        _NOTE,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def sections(cure: Cure) -> Iterator[tuple[str, str]]:
    """What comes before the first heading of the docstring under "", then its headings with their texts."""
    text = inspect.cleandoc(type(cure).__doc__ or "")
    parts = re.split(rf"^({'|'.join(SECTIONS)}): ", text, flags=re.M)
    yield "", parts[0].strip()
    for heading, said in zip(parts[1::2], parts[2::2], strict=True):
        yield heading, said[0].upper() + said[1:].strip()


@cache
def makers() -> dict[str, tuple[Callable[[int], Training], str]]:
    """`make` of each example, and what the file says it is."""
    found = {}
    for name in FILES:
        spec = spec_from_file_location(f"cure_example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        found[name] = (module.make, (module.__doc__ or "").strip())
    return found


def _kinds(cure: Cure) -> str:
    return ", ".join(f"`{kind}`" for kind in cure.treats)


def _settings(cure: Cure) -> str:
    labels = [c.label for c in all_cures() if c.name == cure.name]
    return f"The catalogue tries it as {', '.join(f'`{label}`' for label in labels)}." if len(labels) > 1 else ""


def _change(cure: Cure) -> str:
    for name, (make, said) in makers().items():
        seed_everything(0)
        training = make(0)
        if cure.applies(training) is None:
            change = patched(make, cure)
            code = f"```diff\n{change.diff.strip()}\n```" if change.diff else f"```python\n{change.lines.strip()}\n```"
            file = f"[{name}.py](../../tools/cure_examples/{name}.py)"
            return f"## In code\n\n{said.rstrip('.')} ({file}):\n\n{code}"
    return ""


def _score(cure: Cure) -> str:
    """The runs of docs/cures-score.md in which a search proved it, or tried to."""
    runs = [row for path in sorted(RESULTS.glob("cures-*.json")) for row in _runs(cure, path)]
    if not runs:
        return ""
    lines = [f"| `{name}` | {what} |" for name, what in runs[:_MOST]]
    more = f"\n\nAnd in {len(runs) - _MOST} more." if len(runs) > _MOST else ""
    head = "## In the score\n\nWhere the search of [the score](../cures-score.md) proved it, or tried to:\n\n"
    return head + "\n".join(["| run | what came out |", "| --- | --- |", *lines]) + more


def _runs(cure: Cure, path: Path) -> Iterator[tuple[str, str]]:
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for run in saved["runs"]:
        if _names(cure, run["cure"]):
            before, after = written(run["control"]), written(run["metric"])
            yield run["name"], f"{run['outcome']}: {before} → {after} with `{run['cure']}`"
        for text in run["tried"]:
            label = text.rpartition(": ")[0]
            if label != run["cure"] and _names(cure, label):
                yield run["name"], text


def _names(cure: Cure, label: str) -> bool:
    return any(part.split(" ")[0] == cure.name for part in label.split(" + "))
