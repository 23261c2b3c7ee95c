"""A program under `undertow run` is what it is under `python`: arguments, paths, names, output, traceback, status."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[2] / "src")
REPORTS = ("undertow watches", "undertow saw")


def run(*command: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1", **extra}
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, env=environment)


def others(text: str) -> str:
    """Without our own lines."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(REPORTS))


def assert_the_same(cwd: Path, *program: str) -> subprocess.CompletedProcess[str]:
    """`python PROGRAM` against `python -m undertow run PROGRAM`; -m means a module to both."""
    plain = run(*program, cwd=cwd)
    watched = run("-m", "undertow", "run", *program, cwd=cwd)
    assert watched.stdout == plain.stdout
    assert others(watched.stderr) == plain.stderr
    assert watched.returncode == plain.returncode
    return watched


FACTS = """
import sys, pickle, inspect
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def where(): return inspect.getsource(where)

print(sys.argv, sys.path[0], __name__, __file__, __package__, __spec__ and __spec__.name, __doc__)
print(pickle.loads(pickle.dumps(Point(3))), Point.__module__, sys.modules["__main__"].__dict__ is globals())
print(sorted(k for k in globals() if k.startswith("__") and k != "__annotations__"), where())
try: import neighbour; print(neighbour.__file__)
except ImportError as error: print(error)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tmp_path = tmp_path.resolve()
    (tmp_path / "package" / "inner").mkdir(parents=True)
    for folder in (tmp_path / "package", tmp_path / "package" / "inner"):
        (folder / "__init__.py").write_text("")
    for file in ("facts.py", "package/facts.py", "package/inner/__main__.py", "package/__main__.py"):
        (tmp_path / file).write_text(FACTS)
    (tmp_path / "package" / "neighbour.py").write_text("")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", FACTS.replace(", where())", ")"))
    return tmp_path


@pytest.mark.parametrize(
    "program",
    [
        ("facts.py", "--lang", "xx", "--debug", "--", "-m", "a b"),
        ("package/facts.py",),
        ("-m", "package.facts", "--lr", "3"),
        ("-m", "package.inner"),
        ("package",),
        ("archive.zip",),
    ],
)
def test_the_program_sees_what_python_shows_it(project: Path, program: tuple[str, ...]) -> None:
    assert assert_the_same(project, *program).returncode == 0


ENDINGS = {
    "status": "import sys; sys.exit(7)",
    "text": "import sys; sys.exit('gone wrong')",
    "none": "import sys; sys.exit()",
    "error": "def f(x):\n    return 1 / x\ntry:\n    f(0)\nexcept Exception as e:\n    raise KeyError('k') from e",
    "syntax": "x = (1,\nprint('a')\ny = = 3",
    "encoding": "# -*- coding: latin-1 -*-\nprint('caf\\xe9'.encode('utf-8'))",
    "atexit": "import atexit, sys\natexit.register(print, 'bye')\nprint('out')\nprint('err', file=sys.stderr)",
    "excepthook": "import sys\nsys.excepthook = lambda *e: print('hooked', e[0])\nraise OSError",
    "group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_ends_as_under_python(tmp_path: Path, ending: str) -> None:
    (tmp_path / "program.py").write_text(ENDINGS[ending])
    assert_the_same(tmp_path.resolve(), "program.py")


def test_an_interrupt_shows_the_traceback_and_ends_as_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("def loop():\n    raise KeyboardInterrupt\nloop()")
    plain, watched = run("program.py", cwd=tmp_path), run("-m", "undertow", "run", "program.py", cwd=tmp_path)
    assert others(watched.stderr) == plain.stderr
    assert watched.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.py"], "'nowhere.py', which is not there"),
        (["-m", "no.such.module"], "'no.such.module', which is not there or cannot be run"),
        (["-m", "broken.module"], "whose package fails to import (ZeroDivisionError"),
        (["."], "without a __main__.py"),
        (["--budget", "much", "x.py"], "a share of the run's time"),
        (["--budget", "120%", "x.py"], "a share of the run's time"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("1 / 0")
    ran = run("-m", "undertow", "run", *arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert says in ran.stderr
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr


def test_options_before_the_program_are_ours(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("import sys; print(sys.argv)")
    ran = run("-m", "undertow", "run", "--lang", "ko", "--budget=all", "p.py", "--lang", "en", cwd=tmp_path)
    assert ran.stdout == "['p.py', '--lang', 'en']\n"
    assert "모든 스텝을 측정합니다" in ran.stderr
    assert "torch를 불러오지 않았습니다" in ran.stderr


def test_a_forked_child_reports_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("import os, sys\nif os.fork() == 0:\n    sys.exit(0)\nos.wait()")
    ran = run("-m", "undertow", "run", "p.py", cwd=tmp_path)
    assert ran.stderr.count("undertow saw nothing") == 1


SPAWNS = """
import multiprocessing, sys
class Item:
    def __init__(self, value): self.value = value
def work(item): return Item(item.value + 1)
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print([i.value for i in pool.map(work, [Item(1), Item(2)])])
"""


@pytest.mark.parametrize("program", [("spawns.py",), ("-m", "spawns")])
def test_spawned_workers_find_the_programs_names_and_are_not_watched(tmp_path: Path, program: tuple[str, ...]) -> None:
    (tmp_path / "spawns.py").write_text(SPAWNS)
    ran = run("-m", "undertow", "run", *program, cwd=tmp_path)
    assert ran.stdout == "[2, 3]\n"
    assert ran.stderr.count("undertow watches") == 1
