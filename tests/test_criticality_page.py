"""docs/criticality.md prints what it shows."""

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs/criticality.md").read_text(encoding="utf-8")


def test_its_lines_print_what_stands_below_them():
    code, shown = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", PAGE, re.DOTALL).groups()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == shown
