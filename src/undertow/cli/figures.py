"""`undertow figures`: every figure, written to one folder."""

from __future__ import annotations

from pathlib import Path

import typer

from undertow.cli.options import Debug, Folder, Lang, command_app
from undertow.foundation import say
from undertow.foundation.outputs import writable_folder

app = command_app()


@app.command(help=say("cli.figures.short"))
def figures(output: Folder = Path("figures"), lang: Lang = None, debug: Debug = False) -> None:
    folder = writable_folder(output)
    from undertow.report.figures import write_all

    for path in write_all(folder):
        typer.echo(say("cli.written", path=path))
