"""`undertow demo`: a real network fails on real data, is explained, and is cured."""

from __future__ import annotations

from pathlib import Path

import typer

from undertow.cli.options import Debug, Lang, Output, command_app
from undertow.foundation import current_language, say
from undertow.foundation.outputs import writable

app = command_app()


@app.command(help=say("cli.demo.short"))
def demo(output: Output = Path("undertow-demo.html"), lang: Lang = None, debug: Debug = False) -> None:
    writable(output)
    from rich.console import Console

    from undertow.demo import run

    raise typer.Exit(run(current_language(), output, Console()))
