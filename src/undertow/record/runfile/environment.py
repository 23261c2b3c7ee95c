"""Where, by what and how a run was started."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

VARIABLES = (
    "CUBLAS_",
    "CUDA_",
    "GLOO_",
    "KMP_",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "PYTHONHASHSEED",
    "PYTORCH_",
    "RANK",
    "SLURM_",
    "TORCH",
    "WORLD_SIZE",
)
"""Beginnings of the environment variables that change how torch computes, or tell which of several jobs this is."""
SECRET = ("key", "token", "secret", "passw", "credential", "auth")
"""Parts of names whose values are never written."""
HIDDEN = "(hidden)"
PATIENCE = 1.0
"""Seconds that git may take for one answer: the thread that asks has to write each second."""


def environment() -> dict[str, str]:
    """What can be told at once: time, versions, machine, threads, variables, command line."""
    return {
        "started": now(),
        "undertow": _version("undertow"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "platform": platform.platform(),
        "host": platform.node(),
        "pid": str(os.getpid()),
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "devices": json.dumps(_devices()),
        "variables": json.dumps(variables(os.environ)),
        "folder": os.getcwd(),
        "command": command(sys.orig_argv),
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def variables(environ: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Those that matter, without secrets."""
    found = {name: value for name, value in sorted(environ.items()) if name.startswith(VARIABLES)}
    return {name: HIDDEN if _secret(name) else value for name, value in found.items()}


def command(arguments: Sequence[str]) -> str:
    """The command line as a shell takes it; what is given to an option such as --api-key is hidden."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = name.startswith("-") and _secret(name)
        shown.append(HIDDEN if hide else f"{name}={HIDDEN}" if secret and equals else argument)
        hide = secret and not equals
    return shlex.join(shown)


def git(folder: str) -> dict[str, str]:
    """The commit that is checked out there, and whether files that it knows have changed; what git does not say in
    time is left out."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit} | ({} if changed is None else {"dirty": "yes" if changed else "no"})


def _git(folder: str, *arguments: str) -> str | None:
    call = ("git", "--no-optional-locks", "-C", folder, *arguments)
    try:
        ran = subprocess.run(
            call, capture_output=True, text=True, timeout=PATIENCE, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()


def script_folder() -> str:
    """The folder of the program that runs, else the one that it was started in."""
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
    return str(program.resolve().parent) if program and program.is_file() else os.getcwd()


def _secret(name: str) -> bool:
    return any(part in name.lower() for part in SECRET)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _devices() -> list[str]:
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator()
    count = range(torch.accelerator.device_count())
    return [torch.cuda.get_device_name(i) if torch.cuda.is_available() else f"{kind}:{i}" for i in count]
