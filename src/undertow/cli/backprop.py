"""`undertow backprop`: a computational graph with its forward and backward values, as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.options import Debug, Lang, Output, command_app
from undertow.foundation import say
from undertow.foundation.outputs import writable

app = command_app()


class Subject(StrEnum):
    """What the picture is of."""

    chain = "chain"
    network = "network"
    model = "model"


Of = Annotated[Subject, typer.Option("--of", help=say("cli.backprop.of"))]


@app.command(help=say("cli.backprop.short"))
def backprop(
    output: Output = Path("backprop.svg"), of: Of = Subject.chain, lang: Lang = None, debug: Debug = False
) -> None:
    writable(output)
    typer.echo(say("cli.written", path=_save(of, output)))


def _save(of: Subject, path: Path) -> Path:
    from undertow.probe.graph import sigmoid_chain, tanh_network
    from undertow.report import figures
    from undertow.report.figures.all import measured

    match of:
        case Subject.chain:
            picture = figures.backprop(sigmoid_chain(), say("figures.backprop.chain_title"))
        case Subject.network:
            picture = figures.backprop(tanh_network(), say("figures.backprop.network_title"))
        case Subject.model:
            picture = figures.backprop(measured("sigmoid"), last=7)
    return figures.save(picture, path)
