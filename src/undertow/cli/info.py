"""`undertow info`: what is installed, and whether the compiled kernels are in use."""

from __future__ import annotations

import platform
from importlib.metadata import version

import typer

from undertow import __version__
from undertow.cli.options import Debug, Lang, command_app
from undertow.foundation import LANGUAGES, current_language, say

app = command_app()


@app.command(help=say("cli.info.short"))
def info(lang: Lang = None, debug: Debug = False) -> None:
    for name, value in facts().items():
        typer.echo(f"{say(f'cli.info.{name}')}: {value}")


def facts() -> dict[str, str]:
    """What the command prints, line by line."""
    import torch

    from undertow import native
    from undertow.native import pointwise

    compiled = say("cli.info.compiled", isa=pointwise.isa())
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "undertow": __version__,
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "torch": torch.__version__,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("numpy", "matplotlib", "rich", "typer")),
        "kernels": compiled if native.available() else say("cli.info.missing", why=native.why_not()),
        "threads": str(torch.get_num_threads()),
        "device": str(device or "cpu"),
        "language": f"{current_language()} ({', '.join(LANGUAGES)})",
    }
