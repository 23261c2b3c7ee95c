"""Workers on this machine, by joblib's loky: a process that dies takes its own trial with it and no other."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future
from typing import Any

from undertow.cures.trials.backends.parcel import EXTRA, Guest, Manners
from undertow.cures.trials.backends.pool import Pool, Seat
from undertow.cures.trials.task import Setting
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError


class Processes(Pool):
    def __init__(self, setting: Setting, workers: int, threads: int, devices: list[str]) -> None:
        loky = _loky()
        self.died = (BrokenExecutor,)

        def seat(number: int, setting: bytes) -> Seat:
            limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
            device = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
            return _Process(loky, setting, Manners.here(threads), limits | device)

        super().__init__(setting, workers, seat)


class _Process(Seat):
    """An executor of a single process, so that a resting training is found again."""

    def __init__(self, loky: Any, setting: bytes, manners: Manners, environment: dict[str, str]) -> None:
        super().__init__()
        self._executor = loky.ProcessPoolExecutor(
            1, context=loky.backend.get_context("loky"), initializer=_arrive, initargs=(setting, manners, environment)
        )

    def submit(self, call: bytes) -> Future[Trial]:
        return self._executor.submit(_do, call)

    def kill(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)


_here: list[Guest] = []
"""In a worker: itself."""


def _arrive(setting: bytes, manners: Manners, environment: dict[str, str]) -> None:
    _here[:] = [Guest(setting, manners, environment)]


def _do(call: bytes) -> Trial:
    return _here[0].do(call)


def _loky() -> Any:
    try:
        from joblib.externals import loky
    except ImportError as error:
        raise InputError('backend="processes" without joblib', "joblib beside undertow", EXTRA) from error
    return loky
