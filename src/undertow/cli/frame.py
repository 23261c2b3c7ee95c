"""The commands that there are, each imported when it is called: `undertow --help` imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from undertow import __version__
from undertow.cli.options import Debug, Lang, command_app
from undertow.foundation import Registry, say

COMMANDS: Registry[str] = Registry("command", "undertow --help")
"""Commands and the module of each."""
for _name in (
    "demo",
    "run",
    "check",
    "cure",
    "forecast",
    "criticality",
    "report",
    "diff",
    "export",
    "activations",
    "backprop",
    "figures",
    "info",
):
    COMMANDS.add(_name, f"undertow.cli.{_name}")


class Commands(TyperGroup):
    """The commands of the registry, loaded when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return typer.main.get_command(import_module(COMMANDS[cmd_name]).app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section(say("cli.commands")):
            formatter.write_dl([(name, say(f"cli.{name}.short")) for name in COMMANDS])

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        formatter.write_text(say("cli.what"))


app = command_app(cls=Commands, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"undertow {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help=say("cli.options.version")
    ),
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    """`main` has read --lang and --debug before this module was imported, so that help is in that language too."""
