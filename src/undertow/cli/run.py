"""`undertow run train.py`: a program runs as it is, and is diagnosed at its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.main import FINDINGS, FINE
from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.program import Program
from undertow.cli.watching import Stopped, Watching
from undertow.foundation import InputError, say
from undertow.foundation.outputs import writable
from undertow.foundation.vocabulary import Severity

app = command_app()
FILE = Path("run.undertow")

# Everything from the script on is the program's own: options of ours stand before it.
PASSING_ON = {"allow_interspersed_args": False}
Module = Annotated[bool, typer.Option("-m", "--module", help=say("cli.run.module"))]
Words = Annotated[list[str], typer.Argument(metavar="PROGRAM [ARGUMENTS]...", help=say("cli.run.program"))]


@app.command(help=say("cli.run.short"), context_settings=PASSING_ON)
def run(
    program: Words,
    module: Module = False,
    budget: Annotated[str, typer.Option("--budget", metavar="SHARE|all", help=say("cli.run.budget"))] = "2%",
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help=say("cli.run.file"))] = FILE,
    no_file: Annotated[bool, typer.Option("--no-file", help=say("cli.run.no_file"))] = False,
    strict: Annotated[bool, typer.Option("--strict", help=say("cli.run.strict"))] = False,
    stop_on: Annotated[str, typer.Option("--stop-on", metavar="SEVERITY", help=say("cli.run.stop_on"))] = "",
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    asked = Program(program[0], tuple(program[1:]), module)
    share, path = parsed_budget(budget), None if no_file else writable(output).absolute()
    severity = parsed_severity(stop_on) if stop_on else None
    prepared = asked.prepare()
    watching = Watching(asked.name, share, path, severity)
    status, process = prepared.run(ending=(Stopped,)), os.getpid()
    if process != watching.process:  # a child that the program forked ends here too
        raise typer.Exit(status)
    sys.stdout.flush()
    sick = watching.end()
    ended = watching.stopped is not None or (strict and sick and status == FINE)
    raise typer.Exit(FINDINGS if ended else status)


def parsed_severity(text: str) -> Severity:
    """What ends a program early: a note never does."""
    known: dict[str, Severity] = {"critical": "critical", "warning": "warning"}
    severity = known.get(text.strip().lower())
    if severity is None:
        raise InputError(f"--stop-on {text}", "critical or warning", "--stop-on critical")
    return severity


def parsed_budget(text: str) -> float | None:
    """`2%`, `2 %` and `0.02` are one share; `all` is None, every step measured whole."""
    if text.strip().lower() == "all":
        return None
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 <= share <= 1:
        raise InputError(f"--budget {text}", "a share of the run's time from 0% to 100%, or all", "--budget 2%")
    return share
