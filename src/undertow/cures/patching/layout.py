"""Lines no longer than the file's own, broken as the formatters break them."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

OPEN, CLOSE = "([{", ")]}"


def fitted(before: str, text: str, width: int, step: str) -> str:
    """A changed text with its new lines broken where they are too long, and joined where they are not any more."""
    known, lines = set(before.splitlines()), text.split("\n")
    index = 0
    while index < len(lines):
        line = lines[index].rstrip("\r")
        end = lines[index][len(line) :]
        if line not in known and line.strip():
            whole = _rejoined(lines, index, width)
            if whole is not None:
                lines[index - 1 : index + 2] = [whole]
                continue
            inside = index > 0 and lines[index - 1].rstrip().endswith(tuple(OPEN)) and not line.endswith(",")
            indent = line[: len(line) - len(line.lstrip())]
            new = broken(line.strip(), indent, width, step, inside)
            lines[index : index + 1] = [each + end for each in new]
            index += len(new) - 1
        index += 1
    return "\n".join(lines)


def _rejoined(lines: Sequence[str], index: int, width: int) -> str | None:
    """The line between two brackets with them in one line, where that fits again."""
    if not 0 < index < len(lines) - 1:
        return None
    above, line, below = lines[index - 1], lines[index].strip(), lines[index + 1]
    if not above.rstrip().endswith(tuple(OPEN)) or not below.strip().startswith(tuple(CLOSE)) or line.endswith(","):
        return None
    whole = f"{above.rstrip()}{line}{below.lstrip()}"
    return whole if len(whole.rstrip()) <= width and "#" not in whole else None


def one_line(code: str) -> str:
    """The code of a statement with each of its logical lines in one line; as it is where comments stand inside."""
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    depth, continued = 0, set[int]()
    for token in tokens:
        depth += _depth(token)
        if token.type == tokenize.COMMENT and depth:
            return code
        if token.type == tokenize.NL and depth:
            continued.add(token.start[0])
        if token.start[0] != token.end[0] and token.type == tokenize.STRING:
            return code
    lines = code.split("\n")
    done = [lines[0]]
    for number, line in enumerate(lines[1:], start=1):
        done.append(_glued(done.pop(), line.strip()) if number in continued else line)
    return "\n".join(done)


def _glued(before: str, line: str) -> str:
    if line.startswith(tuple(CLOSE)):
        return before.rstrip().removesuffix(",") + line
    return before + line if before.endswith(tuple(OPEN)) else f"{before} {line}"


@dataclass(frozen=True)
class _Bracket:
    opening: int
    closing: int
    atom: bool
    """A list, dictionary or tuple of its own, no call."""


def broken(code: str, indent: str, width: int, step: str, inside: bool = False) -> list[str]:
    """One line of code as several where it is too long: at its last brackets, their content in one line if that fits,
    else each element in one of its own.  `inside`: it is the whole content of brackets."""
    if len(indent + code) <= width:
        return [indent + code]
    code, comment = _comment(code)
    if comment:
        return [indent + comment, *broken(code, indent, width, step, inside)]
    if inside and len(parts := _parts(code)) > 1:
        return [line for part in parts for line in broken(f"{part},", indent, width, step)]
    bracket = next((b for b in reversed(_brackets(code)) if code[b.opening + 1 : b.closing].strip()), None)
    if (parts := _conditions(code)) or bracket is None:
        return _condition(parts, code, indent, step)
    head, body, tail = code[: bracket.opening + 1], code[bracket.opening + 1 : bracket.closing], code[bracket.closing :]
    parts, inner = _parts(body), indent + step
    if len(inner + body) <= width and not (bracket.atom and len(parts) > 1):
        middle = [inner + body]
    elif len(parts) > 1:
        middle = [line for part in parts for line in broken(f"{part},", inner, width, step)]
    else:
        middle = broken(body, inner, width, step)
    return [indent + head, *middle, indent + tail]


def _conditions(code: str) -> list[str]:
    """The parts of `if a and b:`; none of a line that is no such condition."""
    first, _, rest = code.partition(" ")
    parts = _split(rest.removesuffix(":"), "and") if first in ("if", "elif", "while") and code.endswith(":") else []
    return parts if len(parts) > 1 else []


def _condition(parts: Sequence[str], code: str, indent: str, step: str) -> list[str]:
    """`if a and b:` in brackets, a line for each part; any other line as it is."""
    if not parts:
        return [indent + code]
    inner = [f"{indent}{step}{'and ' * bool(i)}{part}" for i, part in enumerate(parts)]
    return [f"{indent}{code.partition(' ')[0]} (", *inner, f"{indent}):"]


def _comment(code: str) -> tuple[str, str]:
    for token in _tokens(code):
        if token.type == tokenize.COMMENT and token.start[1]:
            return code[: token.start[1]].rstrip(), token.string
    return code, ""


def _parts(code: str) -> list[str]:
    """The elements between the commas."""
    return [part for part in (each.strip() for each in _split(code, ",")) if part]


def _split(code: str, word: str) -> list[str]:
    """At a comma, or a word, outside of all brackets."""
    places, depth = [], 0
    for token in _tokens(code):
        depth += _depth(token)
        if depth == 0 and token.string == word:
            places.append(token.start[1])
    edges = [-len(word), *places, len(code)]
    return [code[a + len(word) : b].strip() for a, b in pairwise(edges)]


def _brackets(code: str) -> list[_Bracket]:
    """The outermost pairs."""
    found: list[_Bracket] = []
    opened: list[tuple[int, bool]] = []
    before = ""
    for token in _tokens(code):
        step = _depth(token)
        if step > 0:
            named = before in (*CLOSE,) or (before.isidentifier() and not keyword.iskeyword(before))
            opened.append((token.start[1], not named))
        elif step < 0 and opened:
            start, atom = opened.pop()
            if not opened:
                found.append(_Bracket(start, token.start[1], atom))
        before = token.string
    return found


def _depth(token: tokenize.TokenInfo) -> int:
    if token.type != tokenize.OP:
        return 0
    return (token.string in OPEN) - (token.string in CLOSE)


def _tokens(code: str) -> list[tokenize.TokenInfo]:
    """Of one line; none where it is a part of something longer that can't be read by itself."""
    try:
        return list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return []
