"""`undertow cure train.py:make`: search for a cure, prove it on the user's own training, and write the patched file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from undertow.cli.main import FINDINGS, FINE, INTERRUPTED, PROGRAM_FAILED
from undertow.cli.options import Debug, Lang, command_app
from undertow.cli.table import print_table
from undertow.cli.target import Target, is_maker, users_code
from undertow.foundation import InputError, OutputError, TrainingError, say
from undertow.foundation.outputs import writable

app = command_app()
EXAMPLE = "undertow cure train.py:make"
SEEDS, BUDGET = 3, "10x"


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    html = "html"
    json = "json"


class Backend(StrEnum):
    serial = "serial"
    processes = "processes"
    ray = "ray"


# `Optional`, not `| None`: typer reads these annotations when it runs.
# ruff: noqa: UP045
Name = Annotated[Optional[str], typer.Argument(metavar="FILE.py:NAME", help=say("cli.cure.target"))]
Budget = Annotated[str, typer.Option("--budget", metavar="10x|5m", help=say("cli.cure.budget"))]
Seeds = Annotated[int, typer.Option("--seeds", metavar="N", help=say("cli.cure.seeds"))]
Steps = Annotated[Optional[int], typer.Option("--steps", metavar="N", help=say("cli.cure.steps"))]
Cures = Annotated[Optional[str], typer.Option("--cures", metavar="NAME,NAME", help=say("cli.cure.cures"))]
Workers = Annotated[Optional[int], typer.Option("--workers", metavar="N", help=say("cli.cure.workers"))]
On = Annotated[Backend, typer.Option("--backend", help=say("cli.cure.backend"))]
Resume = Annotated[Optional[Path], typer.Option("--resume", metavar="FILE", help=say("cli.cure.resume"))]
Write = Annotated[Optional[Path], typer.Option("--write", metavar="FILE.py", help=say("cli.cure.write"))]
To = Annotated[Optional[Path], typer.Option("-o", "--output", metavar="FILE", help=say("cli.options.output"))]
As = Annotated[Optional[Format], typer.Option("--format", help=say("cli.forecast.format"))]
List = Annotated[bool, typer.Option("--list", help=say("cli.cure.list"))]


@app.command(help=say("cli.cure.short"))
def cure(
    target: Name = None,
    budget: Budget = BUDGET,
    seeds: Seeds = SEEDS,
    steps: Steps = None,
    cures: Cures = None,
    workers: Workers = None,
    backend: On = Backend.serial,
    resume: Resume = None,
    write: Write = None,
    output: To = None,
    kind: As = None,
    listed: List = False,
    lang: Lang = None,
    debug: Debug = False,
) -> None:
    if listed:
        _list()
        return
    if target is None:
        raise InputError("no target", "a file and a name in it, FILE.py:NAME", f"{EXAMPLE}, or undertow cure --list")
    parsed, form = Target.parse(target, EXAMPLE), _format(output, kind)
    asked = _asked(budget, seeds, steps, cures)
    if write is not None:
        _fresh(write)
    make = _maker(parsed, debug)
    more = {"backend": backend.value if workers or backend is not Backend.serial else None, "workers": workers}
    more |= {"path": str(resume) if resume else None}
    found = _searched(make, asked | {name: value for name, value in more.items() if value is not None}, parsed, debug)
    patched, proof = _patched(make, found, write)
    told = {"target": target, "then": _then(target, resume, patched, write), "patched": patched, "proof": proof}
    _write(found, told, form, output)
    raise typer.Exit(_status(found))


def _list() -> None:
    """The catalogue: a line a cure, with what it changes and the findings that it is meant for."""
    from undertow.cures import all_cures

    columns = [say(f"cure.gallery.{name}") for name in ("cure", "change", "treats")]
    print_table(columns, [(c.label, c.title, ", ".join(c.treats)) for c in all_cures()], heading=False)


def _asked(budget: str, seeds: int, steps: int | None, names: str | None) -> dict[str, Any]:
    from undertow.cures.search.asked import asked_for
    from undertow.cures.search.race import checked_budget

    if seeds < 1:
        raise InputError(f"--seeds {seeds}", "at least one, two or more for a proof", "--seeds 3")
    if steps is not None and steps < 1:
        raise InputError(f"--steps {steps}", "a positive number of optimizer steps", "--steps 300")
    checked_budget(budget)
    wanted = asked_for(names.split(",")) if names is not None else None
    return {"budget": budget, "seeds": tuple(range(seeds)), "steps": steps, "cures": wanted}


def _format(output: Path | None, kind: Format | None) -> Format | None:
    """None for the terminal, as wide and as colourful as it is."""
    from undertow.report.write import format_of

    if output is not None:
        writable(output)
        return kind or Format(format_of(output))
    return kind


def _fresh(path: Path) -> None:
    if path.exists():
        raise OutputError(f"the file {str(path)!r}, which is there already", "a new file", f"--write {path.stem}_2.py")
    writable(path)


def _maker(target: Target, debug: bool) -> Any:
    """The user's `make`, once it has made a training: what it raises is told as the user's own."""
    from undertow.cures import Training
    from undertow.cures.trials.seeding import seed_everything

    with users_code(target.file, debug):
        make = target.load()
        seed_everything(0)
        made = make(0) if is_maker(make) else make
    if not isinstance(made, Training):
        expected = "a function of the seed that returns an ut.Training"
        raise InputError(
            f"a {type(made).__name__} from {target.name}",
            expected,
            f"def {target.name}(seed): return ut.Training(model, optimizer, loss, batches)",
        )
    return make


def _searched(make: Any, asked: dict[str, Any], target: Target, debug: bool) -> Any:
    from undertow.cures import cure as search

    try:
        return search(make, **asked)
    except TrainingError as error:
        if debug or error.__cause__ is None:
            raise
        cause = error.__cause__
        typer.echo(f"{say('cli.error')}: {target.file}: {type(cause).__name__}: {cause}", err=True)
        raise typer.Exit(PROGRAM_FAILED) from error


def _patched(make: Any, found: Any, path: Path | None) -> tuple[Any, Any]:
    """The best change in the user's file; written, and run to prove it, where that is asked for."""
    if found.best is None or found.best.change is None:
        return None, None
    from undertow.cures.patching import patched, prove, write

    change = patched(make, found.best.change, seed=found.seeds[0])
    if path is None or not change.diff:
        return change, None
    write(change, path)
    return change, prove(change, found.best, seeds=found.seeds, steps=found.steps)


def _then(target: str, resume: Path | None, patched: Any, path: Path | None) -> str:
    """What to type next."""
    if patched is None or not patched.diff:
        return ""
    if path is not None:
        return f"python {path}"
    again = f" --resume {resume}" if resume else ""
    return f"undertow cure {target}{again} --write {Path(target.rpartition(':')[0]).stem}_cured.py"


def _status(found: Any) -> int:
    from undertow.report.cures import FINE as ENDED_WELL
    from undertow.report.cures import ending

    how = ending(found)
    return INTERRUPTED if how == "interrupted" else FINE if how in ENDED_WELL else FINDINGS


def _write(found: Any, told: dict[str, Any], kind: Format | None, output: Path | None) -> None:
    from undertow.report.cures import headline, verdicts_data, verdicts_document
    from undertow.report.structured import as_json
    from undertow.report.terminal import print_document
    from undertow.report.write import RENDERERS

    if kind is None:
        print_document(verdicts_document(found, **told, whole=False))
        return
    if kind is Format.json:
        content = as_json(verdicts_data(found, **told))
    else:
        content = RENDERERS[kind](verdicts_document(found, **told, whole=kind is Format.html))
    if output is None:
        typer.echo(content, nl=False)
        return
    output.write_text(content, encoding="utf-8")
    typer.echo(headline(found, told["target"], told["then"]))
    if told["proof"] is not None:
        typer.echo(told["proof"].says)
    typer.echo(say("cli.written", path=output))
