"""Several cures as one."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import Cure
from undertow.cures.surgery.source import Edit, merged
from undertow.cures.training import Training
from undertow.foundation import Reference


@dataclass(frozen=True)
class Together(Cure):
    """The parts, applied one after the other to the same copy; not of the catalogue: a search makes it."""

    name = "together"
    reference = Reference(
        "Bengio", 2012, "Practical recommendations for gradient-based training of deep architectures", "1206.5533"
    )
    treats = ()
    parts: tuple[Cure, ...] = ()

    @property
    def label(self) -> str:
        return " + ".join(part.label for part in self.parts)

    @property
    def title(self) -> str:
        return "; ".join(part.title for part in self.parts)

    @property
    def why(self) -> str:
        return " ".join(part.why for part in self.parts)

    def applies(self, training: Training) -> str | None:
        return next((reason for part in self.parts if (reason := part.applies(training))), None)

    def edits(self, training: Training) -> tuple[Edit, ...]:
        return tuple(merged(edit for part in self.parts for edit in part.edits(training)))

    def change(self, training: Training) -> None:
        for part in self.parts:
            part.change(training)

    def patch(self, training: Training) -> str:
        return "\n".join(part.patch(training) for part in self.parts)
