"""`undertow report run.undertow`: the diagnosis of a run from its file, also while it is written."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from undertow.cli.main import FINDINGS, FINE
from undertow.cli.options import Debug, Lang, command_app
from undertow.foundation import UnknownNameError, say
from undertow.foundation.outputs import writable

app = command_app()


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    json = "json"
    html = "html"


RunFile = Annotated[Path, typer.Argument(metavar="RUN.undertow", help=say("cli.report.read"))]
# `Optional`, not `| None`: typer reads these annotations when it runs.
To = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]  # noqa: UP045
As = Annotated[Optional[Format], typer.Option("--format", help=say("cli.report.format"))]  # noqa: UP045
One = Annotated[Optional[str], typer.Option("--model", metavar="NAME", help=say("cli.report.one"))]  # noqa: UP045


@app.command(help=say("cli.report.short"))
def report(
    file: RunFile, output: To = None, kind: As = None, model: One = None, lang: Lang = None, debug: Debug = False
) -> None:
    from undertow.diagnosis import load
    from undertow.report.saved import diagnoses
    from undertow.report.write import format_of

    wanted = kind or (Format(format_of(output)) if output else None)
    if output:
        writable(output)
    run = load(file)
    found = diagnoses(run)
    if model is not None:
        if model not in found:
            raise UnknownNameError(f"--model {model}", "a model of this run", " or ".join(found))
        found = {model: found[model]}
    _write(run, found, wanted, output)
    sick = any(d is not None and not d.healthy for d in found.values())
    raise typer.Exit(FINDINGS if sick else FINE)


def _write(run: Any, found: Any, kind: Format | None, output: Path | None) -> None:
    from undertow.report.saved import saved_document, saved_structure
    from undertow.report.structured import as_json
    from undertow.report.terminal import print_document
    from undertow.report.write import RENDERERS

    if kind is None:  # on the terminal, as wide and as colourful as it is
        print_document(saved_document(run, found))
        return
    content = (
        as_json(saved_structure(run, found)) if kind is Format.json else RENDERERS[kind](saved_document(run, found))
    )
    if output is None:
        typer.echo(content, nl=False)
    else:
        output.write_text(content, encoding="utf-8")
        typer.echo(say("cli.written", path=output))
