"""`undertow activations`: list, show, compare or plot activation functions."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from undertow.cli.options import Debug, Lang, Output, command_app
from undertow.cli.table import print_table
from undertow.foundation import InputError, say
from undertow.foundation.outputs import writable

if TYPE_CHECKING:
    from undertow.activations import Activation
    from undertow.report.activations import Datasheet

app = command_app(no_args_is_help=True, help=say("cli.activations.short"))

PROPERTIES = (
    "pointwise, learnable, parameters, monotone, invertible, bounded, bounded-below, bounded-above, smooth, "
    "continuous, odd, even, convex, concave, saturating, zero-centred, non-expansive, dead-zone"
)
"""For the help, which must not import torch; a test holds it equal to the registry's."""

# `Optional`, not `| None`: typer reads these annotations when it runs.
# ruff: noqa: UP045
Name = Annotated[str, typer.Argument(metavar="NAME", help=say("cli.activations.name"))]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help=say("cli.activations.names"))]
With = Annotated[
    Optional[list[str]],
    typer.Option("--with", metavar="PROPERTY", help=say("cli.activations.with", properties=PROPERTIES)),
]
Without = Annotated[
    Optional[list[str]], typer.Option("--without", metavar="PROPERTY", help=say("cli.activations.without"))
]
Family = Annotated[Optional[str], typer.Option("--family", metavar="FAMILY", help=say("cli.activations.family"))]
Json = Annotated[bool, typer.Option("--json", help=say("cli.activations.json"))]
Picture = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.activations.picture"))]

LISTED = ("name", "aliases", "family", "range", "gains", "shape", "definition")
COMPARED = (
    *("definition", "range", "limits", "zeros", "extrema", "inflections", "smoothness", "shape", "inverse", "slope"),
    *("steepest", "end_slopes", "slope_zeros", "constant", "moments", "gain", "measured", "reference"),
)


@app.command("list", help=say("cli.activations.list"))
def list_(
    with_: With = None,
    without: Without = None,
    family: Family = None,
    as_json: Json = False,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    from undertow.report.activations import PROPERTIES as KNOWN

    wanted, unwanted = ([KNOWN[name] for name in given or ()] for given in (with_, without))
    sheets = [
        sheet
        for sheet in _family(family)
        if all(has(sheet) for has in wanted) and not any(has(sheet) for has in unwanted)
    ]
    if as_json:
        return _print_json([sheet.as_data() for sheet in sheets])
    heads = [say(f"activations.facts.{column}") for column in LISTED]
    print_table(heads, [_row(sheet) for sheet in sheets], heading=False)


@app.command(help=say("cli.activations.show"))
def show(name: Name, as_json: Json = False, lang: Lang = None, debug: Debug = False) -> None:
    from undertow.activations import activation
    from undertow.report.activations import datasheet, facts

    sheet = datasheet(activation(name))
    if as_json:
        return _print_json(sheet.as_data())
    for fact, value in facts(sheet).items():
        typer.echo(f"{say(f'activations.facts.{fact}')}: {value}")


@app.command(help=say("cli.activations.compare"))
def compare(
    names: Names, output: Picture = None, as_json: Json = False, lang: Lang = None, debug: Debug = False
) -> None:
    from undertow.report.activations import datasheet, facts

    chosen = _chosen(names)
    if output is not None:
        writable(output)
    sheets = [datasheet(act) for act in chosen]
    if as_json:
        _print_json([sheet.as_data() for sheet in sheets])
    else:
        said = [facts(sheet) for sheet in sheets]
        heads = ["", *(sheet.act.label for sheet in sheets)]
        known = [fact for fact in COMPARED if any(fact in one for one in said)]
        rows = [[say(f"activations.facts.{fact}"), *(one.get(fact, "") for one in said)] for fact in known]
        print_table(heads, rows)
    if output is not None:
        _draw(chosen, output, second=True, err=as_json)


@app.command(help=say("cli.activations.gains"))
def gains(as_json: Json = False, lang: Lang = None, debug: Debug = False) -> None:
    from undertow.report.activations.gain_table import cells, heads, table

    if as_json:
        return _print_json([row._asdict() for row in table()])
    print_table(heads(), map(cells, table()))


@app.command(help=say("cli.activations.plot"))
def plot(names: Names, output: Output = Path("activations.svg"), lang: Lang = None, debug: Debug = False) -> None:
    chosen = _chosen(names)
    writable(output)
    _draw(chosen, output)


def _chosen(names: list[str]) -> list[Activation]:
    from undertow.activations import activation

    return [activation(name) for name in names]


def _family(family: str | None) -> list[Datasheet]:
    from undertow.activations import activation, names
    from undertow.report.activations import datasheet, families

    there = families()
    if family is not None and family not in there:
        nearest = (get_close_matches(family, there, n=1, cutoff=0.0) or list(there))[0]
        raise InputError(f"the family {family!r}", f"one of {', '.join(there)}", f"--family {nearest}")
    acts = [activation(name) for name in (names() if family is None else there[family])]
    return [datasheet(act) for act in acts]


def _row(sheet: Datasheet) -> list[str]:
    from undertow.report.activations import facts, gains

    said = {**facts(sheet), "gains": gains(sheet.gaussian) if sheet.gaussian else ""}
    return [said.get(column, "").partition(";")[0] for column in LISTED]


def _draw(acts: list[Activation], path: Path, second: bool = False, err: bool = False) -> None:
    from undertow.report import figures

    typer.echo(say("cli.written", path=figures.save(figures.curves(acts, second=second), path)), err=err)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False))
