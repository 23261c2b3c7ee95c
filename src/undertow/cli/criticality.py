"""`undertow criticality`: what depth does to signal and gradient, for the usual initialisations or one's own."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.table import print_table
from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.foundation.outputs import writable

if TYPE_CHECKING:
    from undertow.report.activations.choices import Choice

app = command_app()

# `Optional`, not `| None`: typer reads these annotations when it runs.
# ruff: noqa: UP045
Name = Annotated[str, typer.Argument(metavar="NAME", help=say("cli.activations.name"))]
Weights = Annotated[Optional[float], typer.Option("--sigma-w2", metavar="X", help=say("cli.criticality.weights"))]
Biases = Annotated[float, typer.Option("--sigma-b2", metavar="X", help=say("cli.criticality.biases"))]
Start = Annotated[float, typer.Option("--start", metavar="Q", help=say("cli.criticality.start"))]
Picture = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.criticality.picture"))]
Json = Annotated[bool, typer.Option("--json", help=say("cli.activations.json"))]

SHOWN = ("sigma_w2", "sigma_b2", "q", "chi_parallel", "chi_perp", "per_layer", "c", "trainable_depth")


@app.command(help=say("cli.criticality.short"))
def criticality(
    name: Name,
    sigma_w2: Weights = None,
    sigma_b2: Biases = 0.0,
    start: Start = 1.0,
    output: Picture = None,
    as_json: Json = False,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    from undertow import theory
    from undertow.report.activations.choices import Choice, choices
    from undertow.theory.function import pointwise

    if sigma_w2 is None and (sigma_b2 or start != 1.0):
        raise InputError("--sigma-b2 or --start alone", "--sigma-w2 with them", "--sigma-w2 2.0 --sigma-b2 0.05")
    act = pointwise(name)
    if output is not None:
        writable(output)
    found = choices(act)
    if sigma_w2 is not None:
        found.append(Choice("own", theory.criticality(act, sigma_w2, sigma_b2, start)))
    if as_json:
        typer.echo(json.dumps([_data(c) for c in found], ensure_ascii=False, indent=2, allow_nan=False))
    else:
        heads = [say("cli.criticality.choice"), *(say(f"cli.criticality.{column}") for column in SHOWN)]
        print_table(heads, [[c.title, *(_cell(getattr(c.found, column)) for column in SHOWN)] for c in found])
        for choice in found:
            typer.echo(f"{choice.title}: {choice.found.verdict}")
    if output is not None:
        _draw(name, found, output, as_json)


def _draw(name: str, found: list[Choice], output: Path, as_json: bool) -> None:
    from undertow.report import figures

    path = figures.save(figures.phase_diagram(name, found), output)
    typer.echo(say("cli.written", path=path), err=as_json)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else written(value, 4)


def _data(choice: Choice) -> dict[str, Any]:
    found = choice.found
    points = [{**p._asdict(), "attracts": p.attracts} for p in found.fixed_points]
    values = {
        f.name: getattr(found, f.name)
        for f in dataclasses.fields(found)
        if f.name not in ("activation", "fixed_points")
    }
    scales = {
        name: getattr(found, name)
        for name in ("phase", "per_layer", "xi_q", "xi_grad", "xi_c", "trainable_depth", "holds")
    }
    plain = {k: _plain(v) for k, v in {**values, **scales}.items()}
    return {"choice": choice.key, **plain, "fixed_points": points, "verdict": found.verdict}


def _plain(value: Any) -> Any:
    """What JSON has: infinity is the string "inf", NaN null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
