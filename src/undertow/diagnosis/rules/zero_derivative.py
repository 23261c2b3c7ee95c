"""Operations whose derivative is 0 everywhere: rounding and signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.diagnosis.examples import classify
from undertow.diagnosis.needs import PATH
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Snapshot

CURES: dict[Cause, tuple[str, ...]] = {"graph": ("smooth_step", "straight_through")}
STEPS = {"sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "floor_divide", "floordiv", "bernoulli"}


@rule
@dataclass(frozen=True)
class ZeroDerivative(Rule):
    """A gradient comes to a rounding or a sign and ends there: its derivative is 0 wherever it has one.

    What
    ----
    A gradient arrives at the outcome of `sign`, `round`, `floor` and the like, and exactly zero comes to what it was
    given, in every measured step.

    Why it hurts
    ------------
    The layers before it get zeros as their gradient, which no scale can raise.

    Evidence
    --------
    The backward values on both sides of the operation.

    Counter-evidence
    ----------------
    A straight-through estimator, which hands the gradient past the operation: then it is not zero before it.

    Cures
    -----
    A straight-through estimator (`y = x + (x.round() - x).detach()`), or a smooth function.

    References
    ----------
    Bengio, Léonard & Courville (2013), arXiv:1308.3432; Hubara et al. (2016), arXiv:1602.02830.
    """

    kind = "disconnected"
    needs = (PATH,)

    def check(self, recording: Recording) -> Iterator[Finding]:
        found = [self._ended(s) for s in recording.snapshots]
        if any(f is None for f in found) or found[0] is None:
            return
        first, entry = found[0]
        yield Finding(
            kind="disconnected",
            severity="warning",
            cause="graph",
            where=first.site.label,
            step=recording.snapshots[0].step,
            evidence=(Evidence("gradient_passed", first.backward.max, entry.backward.rms, None, "not_zero"),),
            cures=CURES["graph"],
            values={
                "operation": entry.site.operation,
                "source": f" ({entry.site.source})" if entry.site.source else "",
                "gradient": entry.backward.rms,
            },
            rule=self.name,
            sites=(first.site.label, entry.site.label),
        )

    @staticmethod
    def _ended(snapshot: Snapshot) -> tuple[Entry, Entry] | None:
        """The first layer of weights that gets zeros, and the operation that makes them."""
        at = {e.site: i for i, e in enumerate(snapshot.ledger)}
        for entry in snapshot.ledger:
            before = at.get(entry.previous) if entry.previous is not None else None
            if before is None or entry.site.operation not in STEPS or not entry.backward.max > 0:
                continue
            if snapshot.ledger.entries[before].backward.max == 0:
                lost = (e for e in snapshot.ledger.entries[: before + 1] if e.backward.max == 0)
                first = next((e for e in lost if e.site.effect == "weights"), None)
                if first is not None:
                    return first, entry
        return None

    @staticmethod
    def sick() -> Example:
        return classify(_Rounded(through=False))

    @staticmethod
    def healthy() -> Example:
        return classify(_Rounded(through=True))


class _Rounded(nn.Module):
    """Two layers with a rounding between them, alone or with the derivative of what it was given."""

    def __init__(self, through: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.through = nn.Linear(16, 32), nn.Linear(32, 4), through

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(h + (h.round() - h).detach() if self.through else h.round())
