"""What several commands share: how an app is made, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from undertow.foundation import say

# `Optional`, not `| None`: typer reads these annotations when it runs.
Lang = Annotated[Optional[str], typer.Option("--lang", metavar="en|ko", help=say("cli.options.lang"))]  # noqa: UP045
Debug = Annotated[bool, typer.Option("--debug", help=say("cli.options.debug"))]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help=say("cli.options.folder"))]


def command_app(**settings: Any) -> typer.Typer:
    """An app in plain text: rich's help costs 0.1 s of imports, a third of what `undertow --help` may take."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, **settings)
