"""The rooms keep their order, the package stays light to import, and its public names are what they say."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
HEAVY = {"torch", "numpy", "matplotlib", "rich", "jinja2"}
STUB = ast.parse((ROOT / "src/undertow/__init__.pyi").read_text(encoding="utf-8"))
FROM_ROOMS = [node for node in STUB.body if isinstance(node, ast.ImportFrom)]
PUBLIC = {alias.name: node.module for node in FROM_ROOMS for alias in node.names}
"""Public names and the room that each comes from; None where it is a room itself."""


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=SOURCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module", ["undertow", "undertow.foundation", "undertow.foundation.outputs", "undertow.cli.main"]
)
def test_light_modules_import_nothing_heavy(module):
    assert ran(sys.executable, "-c", f"import sys, {module}; print({HEAVY} & set(sys.modules))") == "set()\n"


def test_rooms_import_only_rooms_to_their_left():
    assert "0 broken" in ran(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_public_names_are_there_even_after_their_rooms_were_imported():
    """`undertow.report` is a room and a function: importing the room first must not hide the function."""
    rooms = sorted({f"undertow.{room}" for room in PUBLIC.values() if room})
    program = f"import {', '.join(rooms)}\nimport undertow as ut\nprint([n for n in {[*PUBLIC]} if not hasattr(ut, n)])"
    functions = [name for name, room in PUBLIC.items() if room and name.islower()]
    program += f"\nprint([n for n in {functions} if not callable(getattr(ut, n))])"
    assert ran(sys.executable, "-c", program) == "[]\n[]\n"
