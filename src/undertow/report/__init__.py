"""Reports: one document tree, and what draws it.

`undertow.report` is this room and also the public function `ut.report(diagnosis, "report.html")`: the room's module
can be called, so that the name means the same whatever was imported first.
"""

import sys
from types import ModuleType
from typing import Any

from undertow.report.compose import diagnosis_document as diagnosis_document
from undertow.report.compose import finding_card as finding_card
from undertow.report.compose import ledger_table as ledger_table
from undertow.report.cures import verdict_table as verdict_table
from undertow.report.cures import verdicts_document as verdicts_document
from undertow.report.document import Document as Document
from undertow.report.ending import ending as ending
from undertow.report.terminal import print_document as print_document
from undertow.report.write import report as report


class _Room(ModuleType):
    __doc__ = report.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _write(*args, **kwargs)


_write = report
sys.modules[__name__].__class__ = _Room
# the last line, because `report` above is what a type checker should see
globals()["report"] = sys.modules[__name__]
