"""What goes to another process, and how it is set up there so that its numbers are those of this one."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Any

import torch

from undertow.cures.trials.bench import Bench
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError, current_language, language

EXTRA = "pip install 'undertow[parallel]'"


def parcel(content: Any, *owners: Any) -> bytes:
    """Anything as bytes, functions and classes of scripts and closures too; `owners` are functions and classes in it.

    Raises
    ------
    InputError
        Something in it cannot leave this process.
    """
    cloudpickle = _cloudpickle()
    with ExitStack() as stack:
        for owner in owners:
            stack.enter_context(_by_value(cloudpickle, owner))
        try:
            return cloudpickle.dumps(content)
        except Exception as error:
            raise InputError(
                f"a make(seed) or a cure that no other process can be given ({error})",
                "one without open files, locks or generators around it",
                'backend="serial", or open them inside of make',
            ) from error


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError as error:
        raise InputError("a parallel backend without cloudpickle", "cloudpickle beside undertow", EXTRA) from error
    return cloudpickle


@contextmanager
def _by_value(cloudpickle: Any, owner: Any) -> Iterator[None]:
    """A module that was loaded from a path can be imported nowhere else: what it defines goes along."""
    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    if module is None or _importable(module):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _importable(module: Any) -> bool:
    if module.__name__ == "__main__":  # cloudpickle takes that by value of itself
        return True
    if "." in module.__name__:
        return True
    # Not by sys.modules, where a module that was loaded from a path has put itself.
    spec = PathFinder.find_spec(module.__name__)
    return spec is not None and spec.origin == getattr(module, "__file__", None)


@dataclass(frozen=True)
class Manners:
    """Settings of torch that change numbers, where modules are found, and the language of what a trial says."""

    threads: int
    dtype: torch.dtype
    deterministic: bool
    precision: str
    paths: tuple[str, ...]
    language: str

    @classmethod
    def here(cls, threads: int) -> Manners:
        return cls(
            threads,
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            tuple(sys.path),
            current_language(),
        )

    def adopt(self) -> None:
        sys.path += [path for path in self.paths if path not in sys.path]
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.set_float32_matmul_precision(self.precision)


class Guest:
    """A bench in another process."""

    def __init__(self, setting: bytes, manners: Manners, environment: dict[str, str]) -> None:
        os.environ.update(environment)
        with suppress(ValueError):  # not the main thread: then no Ctrl-C comes here
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one decides what ends
        manners.adopt()
        self._language, self._setting = manners.language, setting
        self._bench: Bench | None = None

    def do(self, call: bytes) -> Trial:
        if self._bench is None:  # here and not before: what is raised here is told to whoever asked
            self._bench = Bench(pickle.loads(self._setting))
        task, alive = pickle.loads(call)
        with language(self._language):
            return self._bench.do(task, alive)
