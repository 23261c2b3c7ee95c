"""Findings for other programs: each file has `render(checked) -> str` and is found by its name."""

from undertow.report.ci.checked import Checked as Checked
from undertow.report.ci.formats import FORMATS as FORMATS
from undertow.report.ci.formats import rendered as rendered
