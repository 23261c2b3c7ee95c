"""The message catalogue: every sentence that a user reads, in English and Korean.

A message is `table.key` in `locale/<language>/<table>.toml`; values are filled in with `str.format`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from undertow.foundation.errors import InputError
from undertow.foundation.numbers import Number

LANGUAGES = ("en", "ko")
_language: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def language(code: str) -> Iterator[None]:
    """Say everything in this language inside the block."""
    if code not in LANGUAGES:
        raise InputError(f"the language {code!r}", f"one of {', '.join(LANGUAGES)}", "--lang ko")
    token = _language.set(code)
    try:
        yield
    finally:
        _language.reset(token)


def current_language() -> str:
    return _language.get()


@cache
def catalogue(code: str) -> dict[str, str]:
    """All messages of one language by their full key."""
    found: dict[str, str] = {}
    for table in sorted(files("undertow.foundation").joinpath("locale", code).iterdir(), key=lambda t: t.name):
        _flatten(table.name.removesuffix(".toml"), tomllib.loads(table.read_text(encoding="utf-8")), found)
    return found


def _flatten(prefix: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, str):
        into[prefix] = value
        return
    for key, inner in value.items():
        _flatten(f"{prefix}.{key}", inner, into)


def say(key: str, /, **values: Any) -> str:
    """The message in the current language; floats are written for a reader (see `foundation.numbers`)."""
    shown = {name: Number(v) if isinstance(v, float) else v for name, v in values.items()}
    return catalogue(current_language())[key].format(**shown)


def knows(key: str) -> bool:
    return key in catalogue(current_language())
