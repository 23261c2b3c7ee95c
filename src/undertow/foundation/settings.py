"""What a project has set for undertow, in the table [tool.undertow] of its pyproject.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from undertow.foundation.errors import InputError

FILE = "pyproject.toml"
EXAMPLE = '[tool.undertow]\nignore = ["dead:blocks.3.*"]'


@dataclass(frozen=True)
class Settings:
    """Each field is a key of the table."""

    ignore: tuple[str, ...] = ()
    """Findings that are known and accepted: `kind`, or `kind:place` with * for any part of the place's name."""
    path: Path | None = None
    """The file they are from; None where there is none."""


def settings(folder: Path) -> Settings:
    """Those of the nearest pyproject.toml in this folder or above it that has such a table.

    Raises
    ------
    InputError
        The file is no TOML, or the table has a key that is unknown or of the wrong type.
    """
    for above in (folder.absolute(), *folder.absolute().parents):
        path = above / FILE
        if path.is_file() and (table := _table(path)) is not None:
            return Settings(**_checked(table, path), path=path)
    return Settings()


def _table(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get("tool", {}).get("undertow")
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise InputError(f"{path} ({error})", "a file in TOML", EXAMPLE) from error
    if table is not None and not isinstance(table, dict):
        raise InputError(f"tool.undertow = {table!r} in {path}", "a table", EXAMPLE)
    return table


def _checked(table: dict[str, Any], path: Path) -> dict[str, Any]:
    known = [f.name for f in fields(Settings) if f.name != "path"]
    for key, value in table.items():
        if key not in known:
            raise InputError(f"the key {key!r} in [tool.undertow] of {path}", f"one of {', '.join(known)}", EXAMPLE)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise InputError(f"{key} = {value!r} in {path}", "a list of texts", EXAMPLE)
    return {key: tuple(value) for key, value in table.items()}
