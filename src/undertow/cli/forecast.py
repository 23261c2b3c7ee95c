"""`undertow forecast train.py:make_model`: what the gradient will do, before the first step."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from undertow.cli.main import FINDINGS, FINE
from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.target import Target, is_maker, made, users_code
from undertow.cli.warned import warned_once
from undertow.foundation import InputError, say
from undertow.foundation.outputs import writable

app = command_app()
PICTURES = (".svg", ".png", ".pdf")
SEEDS = 5


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    json = "json"
    html = "html"


# `Optional`, not `| None`: typer reads these annotations when it runs.
# ruff: noqa: UP045
Name = Annotated[str, typer.Argument(metavar="FILE.py:NAME", help=say("cli.forecast.target"))]
Shape = Annotated[Optional[str], typer.Option("--input", metavar="SHAPE", help=say("cli.forecast.input"))]
Measure = Annotated[bool, typer.Option("--measure", help=say("cli.forecast.measure"))]
Seeds = Annotated[int, typer.Option("--seeds", metavar="N", help=say("cli.forecast.seeds"))]
To = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]
As = Annotated[Optional[Format], typer.Option("--format", help=say("cli.forecast.format"))]


@app.command(help=say("cli.forecast.short"))
def forecast(
    target: Name,
    shape: Shape = None,
    measure: Measure = False,
    seeds: Seeds = SEEDS,
    output: To = None,
    kind: As = None,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    if seeds < 1:
        raise InputError(f"--seeds {seeds}", "at least one", "--seeds 5")
    wanted = _wanted(output, kind)
    parsed = Target.parse(target)
    with warned_once():
        with users_code(parsed.file, debug):
            found = parsed.load()
            first = made(found, shape, 0)
        told, compared = _foretold(found, first, shape, seeds if measure else 0)
    _write(told, compared, wanted, output)
    fine = told.healthy and (compared is None or compared.holds)
    raise typer.Exit(FINE if fine else FINDINGS)


def _wanted(output: Path | None, kind: Format | None) -> Format | None:
    """The format to write; None for a picture, and for the terminal as wide and as colourful as it is."""
    from undertow.report.write import format_of

    if output is not None:
        writable(output)
        if kind is None and output.suffix.lower() not in PICTURES:
            return Format(format_of(output))
    return kind


def _foretold(found: Any, first: tuple[Any, Any], shape: str | None, seeds: int) -> tuple[Any, Any]:
    """The forecast of the first seed, and with seeds to measure the comparison; a model as it is has one seed."""
    from undertow.diagnosis import compare, measured
    from undertow.theory import forecast as foretell

    if not seeds:
        return foretell(*first), None
    forecasts, ledgers = [], []
    for seed in range(seeds if is_maker(found) else 1):
        model, inputs = first if seed == 0 else made(found, shape, seed)
        forecasts.append(foretell(model, inputs))
        ledgers.append(measured(model, inputs, seed))
    return forecasts[0], compare(forecasts, ledgers)


def _write(told: Any, compared: Any, kind: Format | None, output: Path | None) -> None:
    from undertow.report.forecast import forecast_data, forecast_document
    from undertow.report.structured import as_json
    from undertow.report.terminal import print_document
    from undertow.report.write import RENDERERS

    if kind is None and (output is None or output.suffix.lower() in PICTURES):
        print_document(forecast_document(told, compared, figures=False))
        if output is not None:
            from undertow.report import figures

            figures.save(figures.forecast_figure(compared or told), output)
            typer.echo(say("cli.written", path=output))
        return
    if kind is Format.json:
        content = as_json(forecast_data(told, compared))
    else:
        assert kind is not None
        content = RENDERERS[kind](forecast_document(told, compared, figures=kind is Format.html))
    if output is None:
        typer.echo(content, nl=False)
    else:
        output.write_text(content, encoding="utf-8")
        typer.echo(say("cli.written", path=output))
