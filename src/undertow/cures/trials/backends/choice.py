"""Which backend, with how many workers of how many threads."""

from __future__ import annotations

import os
from typing import Any

import torch

from undertow.cures.trials.backends.backend import Backend, Serial
from undertow.cures.trials.task import Setting
from undertow.foundation import InputError

BACKENDS = ("serial", "processes", "ray")


def checked_backend(backend: Any, workers: Any) -> None:
    """Raises InputError for one that is unknown, and for a number of workers that is none."""
    if backend == "threads":
        raise InputError(
            'backend="threads", whose trials would share torch\'s global random generators and so disturb each other',
            "processes, each with generators of its own",
            'backend="processes"',
        )
    if backend not in BACKENDS:
        raise InputError(f"backend={backend!r}", f"one of {', '.join(BACKENDS)}", 'backend="processes"')
    if workers is not None and not (isinstance(workers, int) and workers > 0):
        raise InputError(f"workers={workers!r}", "a positive number of workers, or None for what fits", "workers=4")
    if backend == "serial" and workers not in (None, 1):
        example = f'backend="processes", {workers=}'
        raise InputError(f"{workers} workers for the serial backend", "one, or a parallel backend", example)


def backend_for(setting: Setting, backend: str, workers: int | None, on_gpu: bool) -> Backend:
    """The threads of all workers together are no more than the cores, and of each no more than this process uses; so
    a program that computes with one thread gets the same numbers from every backend."""
    if backend == "serial":
        return Serial(setting)
    cores = available_cores()
    devices = visible_devices() if on_gpu else []
    wanted = workers or (len(devices) if on_gpu else cores)
    threads = min(torch.get_num_threads(), max(1, cores // wanted))
    if backend == "processes":
        from undertow.cures.trials.backends.processes import Processes

        return Processes(setting, wanted, threads, devices)
    from undertow.cures.trials.backends.rays import Rays

    return Rays(setting, workers, threads, on_gpu)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
