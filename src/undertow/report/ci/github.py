"""Workflow commands of GitHub Actions: annotations beside the lines of a pull request."""

from __future__ import annotations

from undertow.report.ci.checked import LEVELS, Checked

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def render(checked: Checked) -> str:
    """A line for each finding; nothing where there is none."""
    lines = []
    for finding in checked.inspection.findings:
        level = LEVELS[finding.severity].replace("note", "notice")
        place = f"file={_escaped(checked.file, _PROPERTY)},line={checked.line_of(finding)}"
        title = _escaped(finding.title, _PROPERTY)
        lines.append(f"::{level} {place},title={title}::{_escaped(finding.because, _DATA)}\n")
    return "".join(lines)


def _escaped(text: str, codes: dict[str, str]) -> str:
    return "".join(codes.get(letter, letter) for letter in text)
