"""Cures that are written into the user's source."""

from __future__ import annotations

from typing import ClassVar

from undertow.cures.cure import Cure
from undertow.cures.surgery.source import edits_patch
from undertow.cures.training import Training
from undertow.foundation import say


class Rewrite(Cure):
    """A cure that is made of edits alone: a subclass defines `edits`."""

    changes_network = True
    refusal: ClassVar[str]
    """The key of `cures.refused` that says why there is nothing to edit."""

    def applies(self, training: Training) -> str | None:
        return None if self.edits(training) else say(f"cures.refused.{self.refusal}")

    def change(self, training: Training) -> None:
        """Nothing beside the edits."""

    def patch(self, training: Training) -> str:
        return edits_patch(self.edits(training))
