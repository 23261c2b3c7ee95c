"""What a machine is told of an inspection: findings with their place in the user's file."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.inspection import Inspection
from undertow.diagnosis import Finding
from undertow.foundation import Severity


@dataclass(frozen=True)
class Checked:
    """An inspection, and where in the user's files it belongs."""

    target: str
    """As it was typed: `train.py:make`."""
    file: str
    line: int
    """Where the target is defined."""
    inspection: Inspection

    def line_of(self, finding: Finding) -> int:
        """The line of the call that the finding is about, where it is written in this file, else the target's."""
        entry = next((e for e in self.inspection.diagnosis.ledger if e.site.label == finding.where), None)
        source, _, line = (entry.site.source or "").rpartition(":") if entry is not None else ("", "", "")
        return int(line) if line.isdigit() and self.file.replace("\\", "/").split("/")[-1] == source else self.line


LEVELS: dict[Severity, str] = {"critical": "error", "warning": "warning", "note": "note"}
"""A severity in the words of SARIF; GitHub calls the last one `notice`."""
