"""`undertow check --unchanged train.py`: proves on the user's own program that watching changes nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from undertow.cli.main import FINDINGS, FINE, PROGRAM_FAILED, WRONG_USE
from undertow.foundation import say


@dataclass(frozen=True)
class Ran:
    """What one run left behind."""

    status: int
    steps: list[tuple[int, dict[str, str], str]]
    buffers: list[tuple[str, str]]
    output: str
    errors: str
    measured: int
    """Steps that were measured whole."""


def compared(asked: dict[str, Any], name: str) -> int:
    """Runs the program three times and says what is the same; the exit code."""
    first = _run(asked, watched=False)
    if first.status != FINE:
        _say("failed", program=name, status=first.status, last=_last_line(first.errors))
        return PROGRAM_FAILED
    if not first.steps:
        _say("no_steps", program=name)
        return WRONG_USE
    count = sum(len(names) for names in {number: hashes for number, hashes, _ in first.steps}.values())
    _say("plain", program=name, steps=len(first.steps), parameters=count)
    second = _run(asked, watched=False)
    again = difference(first, second)
    if again:
        _say("unrepeatable", program=name, difference=again)
        return PROGRAM_FAILED
    _say("repeatable")
    watched = _run(asked, watched=True)
    found = difference(first, watched)
    if not found and first.output == second.output != watched.output:
        found = say("check.output")
    if found:
        _say("changed", difference=found)
        typer.echo(watched.errors, err=True)
        return FINDINGS
    _say("unchanged", program=name, steps=len(first.steps), measured=watched.measured)
    return FINE


def _run(asked: dict[str, Any], watched: bool) -> Ran:
    environment = {"PYTHONHASHSEED": "0", **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fingerprint.json"
        given = json.dumps({**asked, "watched": watched, "file": str(file)})
        done = subprocess.run(
            [sys.executable, "-m", "undertow.cli.fingerprint", given], capture_output=True, text=True, env=environment
        )
        found = (
            json.loads(file.read_text(encoding="utf-8"))
            if file.exists()
            else {"steps": [], "buffers": [], "measured": 0}
        )
    return Ran(status=done.returncode, output=done.stdout, errors=done.stderr, **found)


def difference(a: Ran, b: Ran) -> str:
    """Where two runs differ first, in a sentence; empty where they are the same bit for bit."""
    for i, (one, other) in enumerate(zip(a.steps, b.steps, strict=False)):
        names = [n for n in one[1] if one[1][n] != other[1].get(n)]
        if names:
            return say("check.weights", step=i, name=names[0], more=len(names) - 1, of=len(one[1]))
        if one[2] != other[2]:
            return say("check.random", step=i)
    if len(a.steps) != len(b.steps):
        return say("check.counts", first=len(a.steps), second=len(b.steps))
    if a.status != b.status:
        return say("check.status", first=a.status, second=b.status)
    for (name, one), (_, other) in zip(a.buffers, b.buffers, strict=False):
        if one != other:
            return say("check.buffers", name=name)
    return ""


def _say(key: str, **values: Any) -> None:
    typer.echo(say(f"check.{key}", **values))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
