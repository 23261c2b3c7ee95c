"""The examples run under `undertow run`, print what they print alone, and are judged rightly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "110"}
HEALTHY = "No fault was found"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("digits_mlp.py", "--epochs", "2"), "Vanishing gradient from 0 (linear), since step 0"),
        (("digits_mlp.py", "--epochs", "2", "--activation", "relu"), HEALTHY),
        (("tiny_gpt.py", "--steps", "20"), HEALTHY),
        (("tiny_gpt.py", "--steps", "20", "--layers", "2", "--compile"), "uncompiled replay of the same batch"),
        (("copy_lstm.py", "--steps", "20"), HEALTHY),
    ],
)
def test_an_example(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    program = [str(ROOT / "examples" / arguments[0]), *arguments[1:]]
    alone = subprocess.run([sys.executable, *program], capture_output=True, text=True, env=SOURCE, cwd=tmp_path)
    command = [sys.executable, "-m", "undertow", "run", *program]
    watched = subprocess.run(command, capture_output=True, text=True, env=SOURCE, cwd=tmp_path)
    assert (alone.returncode, watched.returncode) == (0, 0), watched.stderr
    assert watched.stdout == alone.stdout
    assert says in watched.stderr
    assert (tmp_path / "run.undertow").exists()
