"""Record docs/cures-transcript.md: two scripts of examples/ from a failing run to a patched file that trains.

    python tools/record_cures.py              both, about two minutes on an idle core

The commands are run as a new user would type them, in a folder of their own; what they print is what stands there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cures-transcript.md"
WIDTH = 100
SHELL = {**os.environ, "COLUMNS": str(WIDTH), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}
HEAD = """# From a failing run to a patched file

Recorded by `python tools/record_cures.py`: two scripts, each with a fault that is easy to make, from what a user sees
to a file that trains.  Nothing is left out but the spaces at the ends of lines.  Both scripts are in
[examples](../examples).  Each search runs in one process with one thread.
"""
TOLD = {
    "topics_lstm": """## An LSTM that writes help texts

Characters of the texts behind Python's `help()`.  The recurrent weights were drawn far too large.
""",
    "digits_vit": """## A vision transformer on the digits

Eight layers with the norms behind the sums, and Adam at a rate that such a network does not bear without a warm-up.
""",
}


def main() -> None:
    parts = [HEAD]
    for name, told in TOLD.items():
        parts.append(recorded(name, told))
        PAGE.write_text("\n".join(parts), encoding="utf-8")
        print(f"written: {PAGE}, with {name}", flush=True)


def recorded(name: str, told: str) -> str:
    """One script: how it fails, what is found, the search, the patch, and the patched file's run."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "examples" / f"{name}.py", folder)
        commands = (
            f"undertow run --budget all {name}.py",
            f"undertow cure {name}.py:make --resume {name}.search --write {name}_cured.py -o {name}.html",
            f"undertow cure {name}.py:make --resume {name}.search",
            f"python {name}_cured.py",
            f"undertow check {name}_cured.py:make",
        )
        return told + "\n" + "\n".join(typed(command, Path(folder)) for command in commands)


def typed(command: str, folder: Path) -> str:
    """A command with what it prints, and its exit code where that is not 0."""
    words = command.split()
    program = {"undertow": [sys.executable, "-m", "undertow"], "python": [sys.executable]}.get(words[0], words[:1])
    done = subprocess.run(
        [*program, *words[1:]], cwd=folder, env=SHELL, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").split("\n")]
    code = [f"[exit code {done.returncode}]"] if done.returncode else []
    return "\n".join(["```text", f"$ {command}", *lines, *code, "```", ""])


if __name__ == "__main__":
    main()
