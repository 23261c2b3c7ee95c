"""`undertow diff RUN RUN`: what changed between two runs, site by site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from undertow.cli.main import FINDINGS, FINE
from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.report import Format
from undertow.foundation import UnknownNameError, say
from undertow.foundation.outputs import writable

app = command_app()

Before = Annotated[Path, typer.Argument(metavar="BEFORE.undertow", help=say("diff.read_before"))]
After = Annotated[Path, typer.Argument(metavar="AFTER.undertow", help=say("diff.read_after"))]
# `Optional`, not `| None`: typer reads these annotations when it runs.
To = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]  # noqa: UP045
As = Annotated[Optional[Format], typer.Option("--format", help=say("cli.report.format"))]  # noqa: UP045
One = Annotated[Optional[str], typer.Option("--model", metavar="NAME", help=say("cli.report.one"))]  # noqa: UP045


@app.command(help=say("cli.diff.short"))
def diff(
    before: Before,
    after: After,
    output: To = None,
    kind: As = None,
    model: One = None,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    from undertow.diagnosis import load
    from undertow.diagnosis.difference import difference
    from undertow.report.write import format_of

    wanted = kind or (Format(format_of(output)) if output else None)
    if output:
        writable(output)
    old, new = load(before), load(after)
    found = difference(_diagnosed(old, model), _diagnosed(new, model), (old.environment, new.environment))
    names = (before.stem, after.stem) if before.stem != after.stem else (str(before), str(after))
    _write(found, names, wanted, output)
    raise typer.Exit(FINDINGS if found.worse else FINE)


def _diagnosed(run: Any, model: str | None) -> Any:
    if model is None and len(run.names) > 1:
        raise UnknownNameError(f"a run of {len(run.names)} models", "--model NAME", " or ".join(run.names))
    return run.diagnose(model)


def _write(found: Any, names: tuple[str, str], kind: Format | None, output: Path | None) -> None:
    from undertow.report.difference import difference_data, difference_document
    from undertow.report.structured import as_json
    from undertow.report.terminal import print_document
    from undertow.report.write import RENDERERS

    if kind is None:
        print_document(difference_document(found, *names))
        return
    if kind is Format.json:
        content = as_json(difference_data(found, *names))
    else:
        content = RENDERERS[kind](difference_document(found, *names))
    if output is None:
        typer.echo(content, nl=False)
    else:
        output.write_text(content, encoding="utf-8")
        typer.echo(say("cli.written", path=output))
