"""`undertow activations`: list, show or plot activation functions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.cli.options import Debug, Lang, Output, command_app
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.foundation.outputs import writable

if TYPE_CHECKING:
    from undertow.activations import Activation

app = command_app(no_args_is_help=True, help=say("cli.activations.short"))

Name = Annotated[str, typer.Argument(metavar="NAME", help=say("cli.activations.name"))]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help=say("cli.activations.names"))]


@app.command("list", help=say("cli.activations.list"))
def list_(lang: Lang = None, debug: Debug = False) -> None:
    from undertow.activations import activation, names

    width = max(map(len, names()))
    for name in names():
        act = activation(name)
        typer.echo(f"{name:<{width}}  {', '.join((*act.aliases, *act.presets))}".rstrip())


@app.command(help=say("cli.activations.show"))
def show(name: Name, lang: Lang = None, debug: Debug = False) -> None:
    from undertow.activations import activation

    for fact, value in facts(activation(name)).items():
        typer.echo(f"{say(f'cli.activations.facts.{fact}')}: {value}")


@app.command(help=say("cli.activations.plot"))
def plot(names: Names, output: Output = Path("activations.svg"), lang: Lang = None, debug: Debug = False) -> None:
    from undertow.activations import activation

    chosen = [activation(name) for name in names]
    writable(output)
    from undertow.report import figures

    typer.echo(say("cli.written", path=figures.save(figures.curves(chosen), output)))


def facts(act: Activation) -> dict[str, str]:
    """What `show` prints, line by line: what was written down first, then what was measured."""
    defined = {
        "name": act.label,
        "aliases": ", ".join((*act.aliases, *act.presets)),
        "parameters": ", ".join(f"{name} = {value}" for name, value in act.parameters.items()),
        "formula": act.formula,
        "derivative": act.derivative_formula,
        "second_derivative": act.second_derivative_formula,
        "kinks": ", ".join(f"{kink:g}" for kink in act.kinks),
        "reference": str(act.reference),
        "url": act.reference.url or "",
    }
    return {fact: value for fact, value in (defined | _measured(act)).items() if value}


def _measured(act: Activation) -> dict[str, str]:
    from undertow.activations import Pointwise, traits

    if not isinstance(act, Pointwise):
        return {"measured": say("cli.activations.couples")}
    from undertow.theory import gain

    found = traits(act)
    shapes = [word for word in ("monotone", "odd", "even", "saturating") if getattr(found, word)]
    return {
        "range": f"{_number(found.range[0])} … {_number(found.range[1])}",
        "limits": f"{_number(found.limits[0])}, {_number(found.limits[1])}",
        "slope": f"{_number(found.lowest)} … {_number(found.highest)}",
        "shape": ", ".join(say(f"cli.activations.{word}") for word in shapes),
        "gain": say("cli.activations.gains", forward=gain(act, "forward"), backward=gain(act, "backward")),
    }


def _number(value: float) -> str:
    return say("cli.activations.no_limit") if math.isnan(value) else written(value, 6)
