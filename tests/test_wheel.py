"""What is in the source folder is in the wheel: an ignore pattern that reaches too deep loses rooms silently."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = {".cpp", ".h", ".so", ".pyc"}
BUILD = """
import sys
from scikit_build_core.build import build_wheel
build_wheel(sys.argv[1], {"wheel.cmake": "false", "build-dir": sys.argv[1] + "/build"})
"""


def test_the_wheel_holds_every_source_file_but_the_kernels(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("undertow/")}
    sources = (path for path in (ROOT / "src/undertow").rglob("*") if path.is_file() and path.suffix not in LEFT_OUT)
    expected = {path.relative_to(ROOT / "src").as_posix() for path in sources}
    assert expected == packed
