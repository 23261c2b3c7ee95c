"""Where the runs come from: our own models, the public cases beside the repository, the matrix of tests/matrix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.score.training import Case, Training, own_cases

from undertow.foundation import InputError

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"


def all_cases(folder: Path = CASES) -> dict[str, Case]:
    """Every run by its name: the public ones, the matrix, our own."""
    return {c.name: c for c in [*public(folder), *matrix(), *own_cases().values()]}


def chosen(cases: Iterable[Case], only: Iterable[str]) -> list[Case]:
    """The cases that are called so, or whose source or kind of fault is.

    Raises InputError where a name fits none.
    """
    cases, wanted = list(cases), list(only)
    for name in wanted:
        if not any(name in _names(c) for c in cases):
            raise InputError(f"--only {name}", f"a case, a source or a kind, such as {cases[0].name}", "--only own")
    return [c for c in cases if not wanted or any(name in _names(c) for name in wanted)]


def _names(case: Case) -> set[str]:
    file = getattr(case.make, "__module__", "").rpartition(".")[2]
    return {case.name, case.source, file, "healthy" if case.healthy else "faulty"}.union(*case.expect)


@cache
def _public(folder: Path) -> Any:
    """The module `cases` of the public cases, which import each other by their bare names."""
    if not (folder / "cases.py").is_file():
        raise InputError(
            f"no cases.py in {folder}", "the folder of the public cases", 'make score ARGS="--cases ../shared/cases"'
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return _loaded("cases", folder / "cases.py")


def _loaded(name: str, file: Path) -> Any:
    """A file as a module of this name, whatever else is called so as the file is."""
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@cache
def _truth(folder: Path) -> Any:
    """How the public cases measure their own labels."""
    return _loaded("truth_of_the_public_cases", folder / "truth.py")


def public(folder: Path = CASES) -> list[Case]:
    """The public cases, which are built from one seed and hold their own labels."""
    return [
        Case(c.id, partial(_public_training, folder, c.id), c.expect, c.cause, c.layer, c.note, source="public")
        for c in _public(folder).CASES.values()
    ]


def _public_training(folder: Path, name: str) -> Training:
    seed = torch.initial_seed()  # just set by `Case.training`; build sets it again
    setup = _public(folder).build(name, seed)
    return Training(
        setup.model,
        setup.optimizer,
        setup.loss_fn,
        setup.batches(),
        setup.metric,
        accumulate=setup.accumulate,
        clip=setup.clip,
        autocast=setup.autocast,
    )


def label_holds(case: Case, seed: int, change: Callable[[Training], Training], folder: Path = CASES) -> bool:
    """Whether a public case is still what its label says under a change, measured by the cases' own truth.py."""
    cases = _public(folder)
    truth = _truth(folder)
    training = change(case.training(seed))
    setup = replace(
        cases.build(case.name, seed),
        model=training.model,
        optimizer=training.optimizer,
        loss_fn=training.loss,
        batches=lambda: training.batches,
        steps=len(training.batches) // training.accumulate,
        clip=training.clip,
        autocast=training.autocast,
        accumulate=training.accumulate,
    )
    with patch.object(truth, "build", lambda _name, _seed: setup):
        measured = truth.measure(case.name, seed)
    if case.healthy:
        return truth.label_is_true(cases.CASES[case.name], measured)
    return all(any(truth.holds(kind, measured) for kind in kinds) for kinds in case.expect)


def matrix() -> list[Case]:
    """The rows of the matrix of models and loops that are healthy and whose packages are here."""
    here = ROOT / "tests" / "matrix"
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    import rows  # pyright: ignore[reportMissingImports]

    found = [r for r in rows.all_rows() if not r.findings and (not r.needs or find_spec(r.needs))]
    return [Case(f"matrix_{r.id}", partial(_matrix_training, r.id), why=r.title, source="matrix") for r in found]


def _matrix_training(id: str) -> Training:
    import rows  # pyright: ignore[reportMissingImports]

    rows.all_rows()
    setting = rows.ROWS[id].setting()
    step: Callable[[int], Any] = setting.run
    return Training(
        setting.model,
        setting.optimizer,
        lambda _model, k: setting.loss(k),
        list(range(setting.steps)),
        lambda _model: float("nan"),  # the rows run twelve steps: what they must show is not that they learn
        loop=lambda k: step(k).item(),
    )


def scaled(training: Training, factor: float) -> Training:
    """The same training with the loss times a factor: the rates of SGD divided by it, those of Adam and co. kept."""
    loss = training.loss
    if isinstance(training.optimizer, torch.optim.SGD):
        for group in training.optimizer.param_groups:
            group["lr"] /= factor
    for group in training.optimizer.param_groups:
        if "eps" in group:  # the small number in the denominator is of the gradient's unit
            group["eps"] *= factor
    return replace(training, loss=lambda model, batch: factor * loss(model, batch))
