"""An attention looks at one key alone, and its softmax passes no gradient to its queries and keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import needs
from undertow.diagnosis.learning import learning
from undertow.diagnosis.needs import Need
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Ledger, Recording, Snapshot
from undertow.record.flow import FLAT_SHARE, LARGE_INPUT, is_fitted

CURES = {
    "weights": ("scaled_attention", "qk_norm", "matched_init"),
    "input_scale": ("scaled_attention", "qk_norm", "standardise", "adam"),
}
ATTENTION = Need(
    "attention",
    lambda recording: any(s.attention for s in recording.snapshots),
    concerns=needs.calls("scaled_dot_product_attention", "multi_head_attention_forward"),
)
"""An attention whose logits could be read."""


@rule
@dataclass(frozen=True)
class SaturatedAttention(Rule):
    """The logits of an attention are so large that each query looks at one key, before anything was learned.

    What
    ----
    For seven of ten queries over all heads of an attention the derivative of the softmax is less than a thousandth of
    the most that it can be, in the first measured steps, and it still is for half of them in the last half of the run.

    Why it hurts
    ------------
    The Jacobian of a softmax, diag(p) - p pᵀ, is 0 at a one-hot p.  Values still learn; queries and keys get no
    gradient, so that whom each token looks at stays what chance has made it.

    Evidence
    --------
    p (1 - p) of the largest probability, of a few queries in some of the measured steps: read from the softmax where
    it is written out, from logits that are computed once more where it is fused.

    Counter-evidence
    ----------------
    Heads that have become sharp by training; a query with one key to look at (the first of a causal mask, padding),
    which is not counted; a model that fits its data.

    Cures
    -----
    Logits divided by the root of the head's size, normalised queries and keys, normalisation before the attention,
    smaller initial weights.

    References
    ----------
    Vaswani et al. (2017), arXiv:1706.03762 (1/√d); Zhai et al. (2023), arXiv:2303.06296 (entropy collapse); Dehghani
    et al. (2023), arXiv:2302.05442 (normalised queries and keys).
    """

    kind = "saturated"
    needs = (needs.PATH, ATTENTION)

    share: float = FLAT_SHARE
    """Origin: as `record.flow` says, of the units of a saturated layer."""
    still: float = 0.5
    """Origin: half of the queries useless for half of the run."""
    large_input: float = LARGE_INPUT
    """Origin: as `record.flow` says."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        seen = [s for s in recording.snapshots if s.attention]
        half = recording.last_step / 2
        late = [s for s in seen if s.step >= half] or seen[-1:]
        if is_fitted(recording, recording.snapshots[-1].ledger):
            return
        closed = [name for name in seen[0].attention if self._is_closed(name, seen[:5], late)]
        if closed:
            yield self._finding(recording, closed, seen[0], late)

    def _is_closed(self, name: str, early: list[Snapshot], late: list[Snapshot]) -> bool:
        first, recent = ([s.attention[name].closed for s in part if name in s.attention] for part in (early, late))
        return bool(first and recent) and median(first) >= self.share and median(recent) >= self.still

    def _finding(self, recording: Recording, closed: list[str], first: Snapshot, late: list[Snapshot]) -> Finding:
        name, known = closed[0], learning(recording)
        reading, size = first.attention[name], first.inputs.rms if first.inputs else 1.0
        recent = median(s.attention[name].closed for s in late if name in s.attention)
        begins = name == next(iter(first.attention))
        cause: Cause = "input_scale" if begins and size > self.large_input else "weights"
        return Finding(
            kind="saturated",
            rule=self.name,
            severity="critical" if known is not None and not known.any else "warning",
            cause=cause,
            where=weights_of(first.ledger, name),
            step=first.step,
            evidence=(
                Evidence("attention_closed", reading.closed, None, self.share, "softmax_derivative"),
                Evidence("attention_closed_recent", recent, None, self.still, "softmax_derivative"),
                Evidence("attention_logits", reading.logits.rms, None, None, ""),
                Evidence("input_rms", size, None, self.large_input, "standardised"),
            ),
            counter_evidence=() if known is None else (known.evidence,),
            sites=tuple(e.site.label for e in first.ledger if e.site.name in closed),
            cures=CURES[cause],
            values={
                "share": reading.closed,
                "logits": reading.logits.rms,
                "entropy": reading.entropy,
                "input": size,
                "count": len(closed),
                "of": len(first.attention),
            },
        )

    @staticmethod
    def sick() -> Example:
        return attending(200.0)

    @staticmethod
    def healthy() -> Example:
        return attending(0.25)


def weights_of(ledger: Ledger, name: str) -> str:
    """The layer whose weights make the logits: the nearest before the site, or the site where these are its own."""
    entries = {e.site.name: e for e in ledger}
    entry: Entry | None = entries.get(name)
    if entry is None:
        return name.partition("#")[0]
    if entry.site.operation == "multi_head_attention_forward":
        return entry.site.label
    found = entry
    while found is not None and found.site.effect != "weights":
        found = entries.get(found.previous.name) if found.previous else None
    return (found or entry).site.label


class Attention(nn.Module):
    """Tokens attend to one another; `scale` multiplies the logits."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.embed, self.out, self.scale = nn.Linear(4, 16), nn.Linear(16, 2), scale
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        logits = self.scale * self.query(h) @ self.key(h).transpose(1, 2)
        return self.out((h + logits.softmax(-1) @ self.value(h)).mean(1))


def attending(scale: float) -> Example:
    """Six Gaussian tokens, classified by the mean of one number in them."""
    torch.manual_seed(0)
    model, generator = Attention(scale), torch.Generator().manual_seed(1)
    batches: list[tuple[Tensor, Tensor]] = []
    for _ in range(8):
        x = torch.randn(32, 6, 4, generator=generator)
        batches.append((x, (x[..., 0].mean(1) > 0).long()))
    return Example(model, torch.optim.SGD(model.parameters(), 0.05), F.cross_entropy, batches)
