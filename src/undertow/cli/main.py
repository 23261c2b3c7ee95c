"""The command line's entry: language, exit codes, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from undertow.foundation import UndertowError, current_language, language, say

FINE, FINDINGS, WRONG_USE, PROGRAM_FAILED = 0, 1, 2, 3
"""Exit codes: nothing above a note; findings; wrong use, or a fault of undertow's own; the user's program failed."""
VALUED = {"--lang", "--budget", "-o", "--output", "--steps", "--stop-on"}
"""Options that may stand before the program and are followed by a value."""
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `undertow ARGUMENTS...` and return its exit code; no traceback without --debug."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with language(_language_among(_ours(given))):
            return _guarded(given)
    except UndertowError as error:  # of the language itself
        return _fail(str(error))


def _guarded(given: list[str]) -> int:
    debug = "--debug" in _ours(given)
    try:
        return _run(given)
    except UndertowError as error:
        if debug:
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return _fail(say("cli.fault", kind=type(error).__name__, text=error))


def _run(given: list[str]) -> int:
    from undertow.cli.frame import app  # now that the language is known: the help is made on import

    try:
        app(args=given, prog_name="undertow")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FINE
    return FINE


def _ours(given: list[str]) -> list[str]:
    """Without the arguments of the program that `undertow run` runs."""
    command, skip = None, False
    for i, word in enumerate(given):
        if skip or word.startswith("-"):
            skip = not skip and word in VALUED
        elif command is None:
            command = word
        elif command == "run" or (command == "check" and asks_unchanged(given[:i])):
            return given[:i]
    return given


def asks_unchanged(given: Sequence[str]) -> bool:
    """Whether `check` is to run a program, whose arguments are then its own."""
    skip = False
    for word in given:
        if word == "--unchanged":
            return True
        if not (skip or word.startswith("-") or word == "check"):
            return False
        skip = not skip and word in VALUED
    return False


def _language_among(given: list[str]) -> str:
    """The last --lang ko or --lang=ko; without one the language stays as it is."""
    chosen = current_language()
    for option, value in zip(given, [*given[1:], ""], strict=True):
        if option == "--lang" and value:
            chosen = value
        elif option.startswith("--lang="):
            chosen = option.removeprefix("--lang=")
    return chosen


def _fail(text: str) -> int:
    print(f"{say('cli.error')}: {' '.join(text.split())}", file=sys.stderr)
    return WRONG_USE
