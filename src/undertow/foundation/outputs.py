"""Files that undertow writes: whether they can be written is asked before any work is done."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from undertow.foundation.errors import OutputError


def writable(path: str | PathLike[str]) -> Path:
    """The path, once opening it for writing has been tried; a file that was there keeps its content.

    Raises
    ------
    OutputError
        The folder does not exist, the path is a folder, or the system refuses to write there.
    """
    target = Path(path)
    try:
        there = target.exists()
        with target.open("ab"):
            pass
        if not there:
            target.unlink()
    except (OSError, ValueError) as error:
        raise _refused(target, error, "a file in a folder that exists and that you may write to") from error
    return target


def writable_folder(path: str | PathLike[str]) -> Path:
    """The path of a folder that exists, made where it did not, once writing a file in it has been tried.

    Raises
    ------
    OutputError
        The path is a file, or the system refuses to make the folder or to write in it.
    """
    target = Path(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _refused(target, error, "a folder that exists or can be made") from error
    writable(target / ".undertow-write-test")
    return target


def _refused(target: Path, error: Exception, expected: str) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"the output {str(target)!r} ({reason})", expected, f"-o {target.name or 'out'}")
