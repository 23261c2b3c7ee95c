"""`undertow export run.undertow --to csv`: the numbers of a run for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.report import RunFile
from undertow.foundation import say
from undertow.foundation.outputs import writable_folder

app = command_app()


class Target(StrEnum):
    csv = "csv"
    parquet = "parquet"
    tensorboard = "tensorboard"


To = Annotated[Target, typer.Option("--to", help=say("cli.export.to"))]
# `Optional`, not `| None`: typer reads these annotations when it runs.
Into = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="DIR", help=say("cli.export.folder"))]  # noqa: UP045


@app.command(help=say("cli.export.short"))
def export(file: RunFile, to: To, output: Into = None, lang: Lang = None, debug: Debug = False) -> None:
    from undertow.record.runfile.export import EXPORTS
    from undertow.record.runfile.reader import opened

    folder = output or file.with_name(f"{file.stem}-{to}")
    with opened(file) as db:
        written = EXPORTS[to](db, lambda: writable_folder(folder))
    for path in written:
        typer.echo(say("cli.written", path=path))
