"""`train.py:make_model`: a model with its input, from a name in a user's file."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from undertow.cli.main import PROGRAM_FAILED
from undertow.foundation import InputError, UndertowError, UnknownNameError, say

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = "undertow forecast train.py:make_model --input 64x784"
TOKENS = 100
"""Whole numbers that stand for tokens are below it."""


@dataclass(frozen=True)
class Target:
    """What the name in the user's file is."""

    file: str
    name: str

    @classmethod
    def parse(cls, text: str, example: str = EXAMPLE) -> Target:
        """Raises InputError where the text is not FILE.py:NAME, or there is no such file."""
        file, colon, name = text.rpartition(":")
        if not colon or not file or not name:
            raise InputError(f"the target {text!r}", "a file and a name in it, FILE.py:NAME", example)
        if not os.path.isfile(file):
            raise InputError(f"the file {file!r}, which is not there", "a Python file", example)
        return cls(file, name)

    def load(self) -> Any:
        """The object of this name; the file is run as a module that is not `__main__`.

        Raises
        ------
        UnknownNameError
            The file has no such name.  What its own lines raise is the user's.
        """
        sys.path.insert(0, os.path.dirname(os.path.abspath(self.file)))
        spec = importlib.util.spec_from_file_location(os.path.basename(self.file).removesuffix(".py"), self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # classes of the file must find their module, as pickle and dataclasses do
        spec.loader.exec_module(module)
        found = getattr(module, self.name, None)
        if found is None:
            names = ", ".join(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
            raise UnknownNameError(f"{self.name!r} in {self.file}", "a name of that file", names or EXAMPLE)
        return found


@contextmanager
def users_code(file: str, debug: bool) -> Iterator[None]:
    """What the user's own lines raise is told in one line, with the exit code of a program that failed."""
    try:
        yield
    except UndertowError:
        raise
    except Exception as error:
        if debug:
            raise
        typer.echo(f"{say('cli.error')}: {file}: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(PROGRAM_FAILED) from error


def made(found: Any, shape: str | None, seed: int) -> tuple[nn.Module, Any]:
    """The model and its input, from a model or from what makes one, for this seed.

    Raises
    ------
    InputError
        It makes something else, or there is no input.
    """
    return _pair(_called(found, seed), shape)


def given(found: Any, shape: str | None, seed: int) -> Any:
    """The Training that the target makes for this seed, as it is; else the model and its input.

    Raises
    ------
    InputError
        As `made`.
    """
    from undertow.cures import Training

    result = _called(found, seed)
    return result if isinstance(result, Training) and shape is None else _pair(result, shape)


def _called(found: Any, seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    if not is_maker(found):
        return found
    return found(seed) if _takes_seed(found) else found()


def _takes_seed(maker: Any) -> bool:
    """`make(seed)`, whatever it calls its only argument without a default."""
    parameters = inspect.signature(maker).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return "seed" in inspect.signature(maker).parameters or len(needed) == 1


def _pair(result: Any, shape: str | None) -> tuple[nn.Module, Any]:
    from torch import nn

    model, inputs = _unpacked(result)
    if not isinstance(model, nn.Module):
        expected = "a model, (model, input) or an ut.Training"
        raise InputError(f"a {type(result).__name__} from the target", expected, "def make_model(): return model, x")
    if shape is not None:
        return model, drawn(shape)
    if inputs is None:
        raise InputError("a model without an input", "its shape, or a target that makes (model, input)", EXAMPLE)
    return model, inputs


def is_maker(found: Any) -> bool:
    """Whether it makes models, and each seed another initialisation; a model is one already."""
    from torch import nn

    return callable(found) and not isinstance(found, nn.Module)


def _unpacked(given: Any) -> tuple[Any, Any]:
    from undertow.cures import Training
    from undertow.cures.training import first_batch

    if isinstance(given, Training):
        batch = first_batch(given)
        return given.model, batch[0] if isinstance(batch, tuple | list) and len(batch) > 1 else batch
    if isinstance(given, tuple | list) and len(given) == 2:
        return given[0], given[1]
    return given, None


def drawn(shape: str) -> Any:
    """Standard normal numbers of a shape such as 64x784; of 8x128:tokens, whole numbers.

    Raises
    ------
    InputError
        For anything else.
    """
    import torch

    sizes, _, kind = shape.partition(":")
    parts = sizes.lower().split("x")
    if kind not in ("", "tokens") or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InputError(f"--input {shape}", "sizes with x between them, and :tokens for whole numbers", EXAMPLE)
    numbers = tuple(map(int, parts))
    return torch.randint(TOKENS, numbers) if kind else torch.randn(numbers)
