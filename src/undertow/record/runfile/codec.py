"""Dataclasses as JSON and back, by their type hints: for what is too small or too varied for columns of its own."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

hints = cache(typing.get_type_hints)


def optional(hint: Any) -> tuple[Any, bool]:
    """The type X of `X | None`, and whether None is allowed."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return hint, False


def encoded(value: Any) -> str:
    """Standard JSON: what is not finite becomes the text "nan", "inf" or "-inf"."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decoded(hint: Any, text: str) -> Any:
    """The value of this type.  A field that the text lacks keeps its default; one that the type lacks is left out."""
    return _typed(hint, json.loads(text))


def plain(value: Any) -> Any:
    """Lists, dicts, texts and finite numbers alone, as standard JSON has them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def _typed(hint: Any, data: Any) -> Any:
    hint, _ = optional(hint)
    if data is None:
        return None
    origin: Any = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    if is_dataclass(origin):
        known, kind = hints(origin), typing.cast(Any, origin)
        return kind(**{name: _typed(known[name], value) for name, value in data.items() if name in known})
    if origin is float:
        return float(data)
    if origin in (tuple, list):
        kinds = inner if inner[-1:] != (...,) and origin is tuple else inner[:1] * len(data)
        return origin(_typed(kind, value) for kind, value in zip(kinds, data, strict=True))
    if isinstance(data, dict):
        return {key: _typed(inner[1], value) for key, value in data.items()}
    return data
