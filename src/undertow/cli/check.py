"""`undertow check train.py:make`: a model before an expensive job, for people and for CI."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from undertow.cli.main import FINDINGS, FINE, asks_unchanged
from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.run import PASSING_ON, Module, parsed_budget
from undertow.cli.target import Target, given, users_code
from undertow.foundation import InputError, say
from undertow.foundation.outputs import writable
from undertow.foundation.settings import settings

app = command_app()
EXAMPLE = "undertow check train.py:make"
STEPS, UNCHANGED_STEPS = 20, 100


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    html = "html"
    json = "json"
    sarif = "sarif"
    junit = "junit"
    github = "github"


class FailOn(StrEnum):
    warning = "warning"
    critical = "critical"
    never = "never"


FAILS = {FailOn.warning: ("warning", "critical"), FailOn.critical: ("critical",), FailOn.never: ()}


class Check(TyperCommand):
    """With --unchanged all that follows the program is the program's own; else options may follow the target."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = not asks_unchanged(args)
        return super().parse_args(ctx, args)


# `Optional`, not `| None`: typer reads these annotations when it runs.
# ruff: noqa: UP045
Words = Annotated[list[str], typer.Argument(metavar="FILE.py:NAME | PROGRAM [ARGUMENTS]...", help=say("check.words"))]
Steps = Annotated[Optional[int], typer.Option("--steps", metavar="N", help=say("cli.check.steps"))]
Shape = Annotated[Optional[str], typer.Option("--input", metavar="SHAPE", help=say("cli.forecast.input"))]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help=say("check.seed"))]
Ignore = Annotated[Optional[list[str]], typer.Option("--ignore", metavar="KIND:PLACE", help=say("check.ignoring"))]
Fails = Annotated[FailOn, typer.Option("--fail-on", help=say("check.fail_on"))]
To = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]
As = Annotated[Optional[Format], typer.Option("--format", help=say("check.format"))]


@app.command(help=say("cli.check.short"), cls=Check, context_settings=PASSING_ON)
def check(
    program: Words,
    unchanged: Annotated[bool, typer.Option("--unchanged", help=say("cli.check.unchanged"))] = False,
    module: Module = False,
    budget: Annotated[str, typer.Option("--budget", metavar="SHARE|all", help=say("cli.run.budget"))] = "all",
    steps: Steps = None,
    shape: Shape = None,
    seed: Seed = 0,
    ignore: Ignore = None,
    fail_on: Fails = FailOn.warning,
    output: To = None,
    kind: As = None,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    if unchanged:
        from undertow.cli.unchanged import compared

        wanted = UNCHANGED_STEPS if steps is None else steps
        if wanted < 0:
            raise InputError(f"--steps {steps}", "a number of steps, 0 for all of them", "--steps 100")
        asked = {"program": program, "module": module, "steps": wanted or None, "budget": parsed_budget(budget)}
        raise typer.Exit(compared(asked, program[0]))
    if len(program) > 1:
        raise InputError(f"more than one target, {' '.join(program)!r}", "one FILE.py:NAME", EXAMPLE)
    bare = f"undertow check {program[0]}:make, or undertow check --unchanged {program[0]}"
    target = Target.parse(program[0], EXAMPLE if ":" in program[0] else bare)
    accepted = (*settings(Path(target.file).parent).ignore, *(ignore or ()))
    form = _format(output, kind)
    with users_code(target.file, debug):
        found = target.load()
        training = given(found, shape, seed)
    from undertow.cures.inspection import inspect as inspected

    seen = inspected(training, steps=STEPS if steps is None else steps, seed=seed, ignore=accepted)
    _write(seen, program[0], target.file, _line(found), form, output)
    raise typer.Exit(FINDINGS if any(f.severity in FAILS[fail_on] for f in seen.findings) else FINE)


def _format(output: Path | None, kind: Format | None) -> Format | None:
    """None for the terminal, as wide and as colourful as it is."""
    from undertow.report.write import format_of

    if output is not None:
        writable(output)
        return kind or Format(format_of(output))
    return kind


def _line(found: Any) -> int:
    """Where the target is defined; 1 for what is no function or class."""
    try:
        return inspect.getsourcelines(found)[1] or 1
    except (TypeError, OSError):
        return 1


def _write(seen: Any, name: str, file: str, line: int, kind: Format | None, output: Path | None) -> None:
    from undertow.report.ci import FORMATS, Checked, rendered
    from undertow.report.inspection import inspection_data, inspection_document
    from undertow.report.structured import as_json
    from undertow.report.terminal import print_document
    from undertow.report.write import RENDERERS

    if kind is None:
        print_document(inspection_document(seen, name))
        return
    if kind in FORMATS:
        content = rendered(Checked(name, file, line, seen), kind)
    elif kind is Format.json:
        content = as_json(inspection_data(seen, name))
    else:
        content = RENDERERS[kind](inspection_document(seen, name, whole=kind is not Format.text))
    if output is None:
        typer.echo(content, nl=False)
    else:
        output.write_text(content, encoding="utf-8")
        typer.echo(say("cli.written", path=output))
