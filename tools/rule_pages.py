"""docs/rules/: a page for each rule, from its docstring, its thresholds, and what its two example runs measure."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from undertow.diagnosis import Diagnosis, Finding, Rule, all_rules
from undertow.diagnosis.examples import observed
from undertow.diagnosis.judge import judge
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.record import Recording
from undertow.record.flow import flow

SOURCE = "../../src/undertow/diagnosis/rules"


def write_rules(folder: Path) -> None:
    """Write the page of every rule and their list, and remove the pages of rules that are no more."""
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{rule.name}.md": page(rule) for rule in all_rules()}
    pages[folder / "README.md"] = index()
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    for path in set(folder.glob("*.md")) - set(pages):
        path.unlink()
    print(f"{folder}: {len(pages)} files written")


def index() -> str:
    """The list of all rules."""
    rows = [f"| [{r.name}]({r.name}.md) | `{r.kind}` | {_summary(r)} |" for r in all_rules()]
    head = "Each rule is one file: its thresholds and their origins. What the words mean: [diagnosis](../diagnosis.md)."
    return "\n".join(["# Rules", "", head, "", "| rule | finds | |", "| --- | --- | --- |", *rows, "", _NOTE, ""])


def page(rule: Rule) -> str:
    """One rule: its sections, its thresholds, and its examples as they come out on the machine that writes the page."""
    parts = [
        f"# {rule.name}",
        f"**{_summary(rule)}** Finds `{rule.kind}`; [source]({SOURCE}/{rule.name}.py), [all rules](README.md).",
        *(f"## {heading}\n\n{text}" for heading, text in sections(rule)),
        "## Thresholds\n\n" + _thresholds(rule),
        "## A run that is sick\n\n" + _example(rule, rule.sick, "sick"),
        "## One that looks alike and is healthy\n\n" + _example(rule, rule.healthy, "healthy"),
        _NOTE,
    ]
    return "\n\n".join(parts) + "\n"


_NOTE = "This page is generated: `make docs`."


def sections(rule: Rule) -> Iterator[tuple[str, str]]:
    """The headings of the docstring with their texts."""
    lines = inspect.cleandoc(type(rule).__doc__ or "").split("\n")
    at = [i for i, (a, b) in enumerate(pairwise(lines)) if b and set(b) == {"-"} and len(a) == len(b)]
    for start, end in pairwise([*at, len(lines)]):
        yield lines[start], "\n".join(lines[start + 2 : end]).strip()


def origins(rule: Rule) -> dict[str, str]:
    """Where each threshold comes from, by its field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(rule))))
    definition = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    found = {}
    for field, said in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(said, ast.Expr):
            text = ast.literal_eval(said.value)
            found[field.target.id] = " ".join(text.removeprefix("Origin: ").split())
    return found


def _summary(rule: Rule) -> str:
    return (type(rule).__doc__ or "").strip().split("\n")[0]


def _thresholds(rule: Rule) -> str:
    said = origins(rule)
    rows = [f"| `{f.name}` | {_number(getattr(rule, f.name))} | {said.get(f.name, '')} |" for f in fields(rule)]  # type: ignore[arg-type]
    rows = ["| threshold | value | origin |", "| --- | --- | --- |", *rows] if rows else ["None: nothing is compared."]
    lacks = [say(f"unjudged.{need.name}", **need.values) for need in rule.needs]
    return "\n".join(rows) + ("\n\nNot judged: " + " ".join(lacks) if lacks else "")


def _number(value: object) -> str:
    return written(float(value)) if isinstance(value, int | float) else str(value)


def _example(rule: Rule, make: Callable[[], object], name: str) -> str:
    recording = observed(getattr(rule, name)())
    diagnosis = judge(recording)
    code = textwrap.dedent(inspect.getsource(make)).split("\n", 2)[2]
    told = [_finding(f) for f in diagnosis.findings] or ["Nothing is found."]
    return "\n\n".join([f"```python\n{textwrap.dedent(code).strip()}\n```", _facts(recording, diagnosis), *told])


def _facts(recording: Recording, diagnosis: Diagnosis) -> str:
    first, last = recording.snapshots[0], recording.snapshots[-1]
    slopes = [[e.slope for e in s.ledger if e.slope is not None] for s in (first, last)]
    losses = diagnosis.losses[:1] + diagnosis.losses[-1:]
    rows = {
        "flow: backward value at the first site over that at the last": [flow(s.ledger) for s in (first, last)],
        "largest share of flat derivatives in a layer": [max((x.flat for x in s), default=0.0) for s in slopes],
        "largest share of units without a derivative": [
            max((x.dead / x.units for x in s), default=0.0) for s in slopes
        ],
        "loss": list(losses),
    }
    lines = [f"| {name} | {written(a)} | {written(b)} |" for name, (a, b) in rows.items()]
    return "\n".join([f"| | step {first.step} | step {last.step} |", "| --- | --- | --- |", *lines])


def _finding(finding: Finding) -> str:
    lines = [f"> **{finding.title}** ({finding.severity}, {finding.confidence}; cause: {finding.cause})", ">"]
    lines += [f"> {finding.because}", ">"]
    for evidence in (*finding.evidence, *finding.counter_evidence):
        bounds = [f"at least {written(evidence.low)}"] if evidence.low is not None else []
        bounds += [f"at most {written(evidence.high)}"] if evidence.high is not None else []
        limit = f" (no fault: {' and '.join(bounds)})" if bounds else ""
        lines.append(f"> - {evidence.text}: {written(evidence.value)}{limit}")
    return "\n".join([*lines, ">", f"> {finding.overturned_by}"])
