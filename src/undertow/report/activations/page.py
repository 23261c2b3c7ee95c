"""An activation's page, and the gallery of all, as Markdown in the current language."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path

from undertow.activations import Activation, Custom, activation
from undertow.foundation import LANGUAGES, current_language, language, say
from undertow.foundation.outputs import writable_folder
from undertow.report.activations.advice import avoid, is_written, use
from undertow.report.activations.datasheet import Datasheet, datasheet, families
from undertow.report.activations.words import gains, measured, span, title
from undertow.report.figures.thumbnail import thumbnail

PROPERTIES = (
    *("range", "limits", "asymptotes", "zeros", "extrema", "inflections"),
    *("smoothness", "kinks", "shape", "inverse", "measured"),
)
SLOPE = ("slope", "steepest", "end_slopes", "slope_zeros", "slope_extrema", "constant")
GAUSSIAN = ("moments", "gain")
SOURCE = "src/undertow/activations/functions"


def page(act: Activation, accuracies: Mapping[str, str] | None = None) -> str:
    """What is known of one activation, a user's own as well; `accuracies` are tables by name.

    Its figure is the file `figures/<name>.svg` beside it, which `thumbnail(act)` makes.
    """
    sheet = datasheet(act)
    said = {fact: value for fact, value in measured(sheet).items() if value}
    parts = [
        f"# {act.name}",
        *_head(sheet),
        _figure(act.name, 480),
        _section("formula", *_formulas(act)),
        _section("use", *_sentences(sheet, use(sheet))),
        _section("avoid", *_sentences(sheet, avoid(sheet))),
        _section("properties", _table(said, PROPERTIES)),
        _section("slope", _table(said, SLOPE)),
        _section("gaussian", say("activations.page.gaussian_text"), _table(said, GAUSSIAN)),
        _section("accuracy", _accuracy_text(), (accuracies or {}).get(act.name, "")),
        _section("code", _code(act)),
        _section("paper", _reference(act)),
        say("activations.page.generated"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def gallery() -> str:
    """All functions by family, each with its picture, range and gains."""
    by_family = families()
    up = "../" * (3 if _translated() else 2)
    count = sum(map(len, by_family.values()))
    parts = [
        f"# {say('activations.gallery.title')}",
        say("activations.gallery.other"),
        say("activations.gallery.text", count=count, source=up + SOURCE),
        say("activations.gallery.shell"),
    ]
    for family, names in by_family.items():
        parts += [f"## {family}", "\n".join(_tile(name) for name in names), _overview(names)]
    return "\n\n".join([*parts, say("activations.page.generated")]) + "\n"


def write_pages(folder: str | Path, accuracies: Mapping[str, str] | None = None) -> list[Path]:
    """Write gallery, pages and figures in every language, and say which files there are now.

    Raises
    ------
    OutputError
        If the folder cannot be made or written to.
    """
    root = writable_folder(folder)
    acts = [activation(name) for family in families().values() for name in family]
    files = {root / "figures" / f"{act.name}.svg": thumbnail(act) + "\n" for act in acts}
    for code in LANGUAGES:
        with language(code):
            there = root / code if _translated() else root
            files[there / "README.md"] = gallery()
            files |= {there / f"{act.name}.md": page(act, accuracies) for act in acts}
    for path, text in files.items():
        writable_folder(path.parent)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _translated() -> bool:
    return current_language() != "en"


def _head(sheet: Datasheet) -> list[str]:
    """Links for a function of ours, its one line, and what its docstring says of it, which is English."""
    if isinstance(sheet.act, Custom):
        return []
    links = say("activations.page.other", name=sheet.act.name) + " · " + say("activations.page.gallery")
    paragraphs = inspect.cleandoc(type(sheet.act).__doc__ or "").split("\n\n")[1:]
    about = [_escaped(" ".join(text.split())) for text in takewhile(_is_prose, paragraphs)]
    return [links] if _translated() else [links, f"**{_escaped(sheet.definition)}.**", *about]


def _is_prose(paragraph: str) -> bool:
    return "\n---" not in paragraph


def _escaped(text: str) -> str:
    """The text as Markdown shows it; what stands between backticks is code already."""
    pieces = text.split("`")
    pieces[::2] = ["".join("\\" + c if c in "*_|<" else c for c in piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _figure(name: str, width: int) -> str:
    folder = "../figures" if _translated() else "figures"
    return f'<img src="{folder}/{name}.svg" width="{width}" alt="{say("activations.page.picture", name=name)}">'


def _section(name: str, *parts: str) -> str:
    """The parts under their heading; nothing where the last, which the others lead up to, is empty."""
    if not parts or not parts[-1]:
        return ""
    return "\n\n".join([f"## {say(f'activations.page.{name}')}", *(part for part in parts if part)])


def _formulas(act: Activation) -> list[str]:
    return [f"```math\n{f}\n```" for f in (act.formula, act.derivative_formula, act.second_derivative_formula)]


def _sentences(sheet: Datasheet, said: list[str]) -> list[str]:
    if is_written(sheet) or not said:
        return said
    return [say("activations.page.measured_text"), "\n".join(f"- {sentence}" for sentence in said)]


def _table(said: Mapping[str, str], chosen: Iterable[str]) -> str:
    rows = [f"| {_escaped(title(fact))} | {_escaped(said[fact])} |" for fact in chosen if fact in said]
    head = f"| {say('activations.page.fact')} | {say('activations.page.value')} |\n| --- | --- |"
    return "\n".join([head, *rows]) if rows else ""


def _accuracy_text() -> str:
    return say("activations.page.accuracy_text", link=("../../" if _translated() else "../") + "accuracy.md")


def _code(act: Activation) -> str:
    if isinstance(act, Custom):
        return ""
    shown = {n: v for n, v in act.parameters.items() if v is not None and not isinstance(v, tuple)}  # tuples run long
    fields = "".join(f", {name}={value!r}" for name, value in shown.items())
    lines = ["import undertow as ut", "", f'act = ut.activation("{act.name}"{fields})']
    if None in act.parameters.values():  # the funnel: its window comes with the layer
        lines += ["layer = act.layer(channels=x.shape[1])", "y = layer(x)"]
    else:
        lines += ["y, slope = act(x), act.derivative(x)", "layer = act.layer()"]
    others = (*act.aliases, *act.presets)
    known = f"{title('aliases')}: {', '.join(f'`{name}`' for name in others)}" if others else ""
    return "\n\n".join(part for part in ("```python\n" + "\n".join(lines) + "\n```", known) if part)


def _reference(act: Activation) -> str:
    text, url = _escaped(str(act.reference)), act.reference.url
    return f"[{text}]({url})" if url else text


def _tile(name: str) -> str:
    return f'<a href="{name}.md">{_figure(name, 240)}</a>'


def _overview(names: Iterable[str]) -> str:
    rows = []
    for sheet in (datasheet(activation(name)) for name in names):
        measured = [span(sheet.traits.range), gains(sheet.gaussian)] if sheet.traits and sheet.gaussian else ["", ""]
        formula = _escaped(sheet.definition.partition(";")[0])
        rows.append([f"[{_escaped(sheet.act.name)}]({sheet.act.name}.md)", formula, *measured])
    head = [title(fact) for fact in ("name", "definition", "range", "gains")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
