"""Tokens that become alike with depth, so that it makes no difference whom an attention looks at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import needs
from undertow.diagnosis.learning import learning
from undertow.diagnosis.needs import Need
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.diagnosis.rules.saturated_attention import weights_of
from undertow.foundation import Evidence, Finding
from undertow.record import Ledger, Recording, Snapshot
from undertow.record.flow import EXPLODED, VANISHED, is_fitted

CURES = {"depth": ("residual", "pre_norm")}
TOKENS = Need(
    "attention",
    lambda recording: any(not math.isnan(a.apart) for s in recording.snapshots for a in s.attention.values()),
    concerns=needs.calls("scaled_dot_product_attention", "multi_head_attention_forward"),
)
"""An attention of two tokens or more to each other whose values could be read."""


@rule
@dataclass(frozen=True)
class RankCollapse(Rule):
    """The tokens of a sample are all alike from some attention on: queries and keys behind it get no gradient.

    What
    ----
    The tokens differ at the first attention.  From a later one to the last, two or more in a row, the values that an
    attention mixes differ from their mean by less than a thousandth of their size, in the first measured steps and in
    the last half of the run.

    Why it hurts
    ------------
    An attention whose values v_j are all alike gives that value, whatever its weights p: with a gradient g at the
    output, its logits get p_j g·(v_j - Σ p v), which is 0.  Queries and keys stay as chance made them, and what told
    the tokens apart is lost.  Attention alone, without skip connections, loses it doubly exponentially with depth.

    Evidence
    --------
    √(Σ |v - v̄|² / Σ |v|²) of the values at each attention, over the keys that are not masked, of a few samples in some
    of the measured steps.

    Counter-evidence
    ----------------
    Tokens that are alike before the first attention: constant inputs.  An attention to something else (a memory that
    may be repeated on purpose), one key alone (a pooled token), padding that is masked, values that are all 0 (a branch
    that begins at zero): none of them is counted.  Tokens that have become alike by training, as those of a classifier
    that fits.  A model that learns all the same: that is a note.

    Cures
    -----
    Skip connections around attention and feed-forward layers; normalisation before them.

    References
    ----------
    Dong, Cordonnier & Loukas (2021), arXiv:2103.03404; Noci et al. (2022), arXiv:2206.03126 (no gradient for queries
    and keys).
    """

    kind = "vanishing"
    needs = (needs.PATH, TOKENS)

    alike: float = VANISHED
    """Origin: as `record.flow` says: logits get this part of the gradient that the values get."""
    differ: float = EXPLODED * VANISHED
    """Origin: two decades above: what lies between was lost on the way, and not in the inputs."""
    row: int = 2
    """Origin: a single attention may look at one vector that was repeated on purpose, to the length of the queries."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        seen = [s for s in recording.snapshots if s.attention]
        half = recording.last_step / 2
        late = [s for s in seen if s.step >= half] or seen[-1:]
        known = {n: a for n in seen[0].attention if not math.isnan(a := _apart(seen[:5], n))}
        if not known or is_fitted(recording, recording.snapshots[-1].ledger):
            return
        collapsed: list[str] = []
        for name, apart in known.items():
            alike = apart < self.alike and _apart(late, name) < self.alike
            collapsed = [*collapsed, name] if alike else []
        if len(collapsed) >= self.row and next(iter(known.values())) >= self.differ:
            yield self._finding(recording, collapsed, known, seen[0])

    def _finding(self, recording: Recording, collapsed: list[str], known: dict[str, float], first: Snapshot) -> Finding:
        learned = learning(recording)
        start, apart = next(iter(known.values())), known[collapsed[0]]
        return Finding(
            kind="vanishing",
            rule=self.name,
            severity="warning" if learned is None else "note" if learned.any else "critical",
            cause="depth",
            where=_starved(first.ledger, weights_of(first.ledger, collapsed[0])),
            step=first.step,
            evidence=(
                Evidence("tokens_apart", apart, self.alike, None, "logits_gradient"),
                Evidence("tokens_apart_first", start, self.differ, None, "logits_gradient"),
            ),
            counter_evidence=() if learned is None else (learned.evidence,),
            sites=tuple(e.site.label for e in first.ledger if e.site.name in collapsed),
            cures=CURES["depth"],
            values={"apart": apart, "first": start, "count": len(collapsed), "of": len(known)},
        )

    @staticmethod
    def sick() -> Example:
        return _tokens(skips=False)

    @staticmethod
    def healthy() -> Example:
        return _tokens(skips=True)


def _apart(snapshots: Iterable[Snapshot], name: str) -> float:
    """The median over the steps in which it was read; NaN where it was in none."""
    found = [s.attention[name].apart for s in snapshots if name in s.attention]
    return median(a for a in found if not math.isnan(a)) if any(not math.isnan(a) for a in found) else math.nan


def _starved(ledger: Ledger, label: str) -> str:
    """The first layer of weights of the module in which the one of this label is: that of the queries, mostly."""
    inside, _, last = next((e.site.module for e in ledger if e.site.label == label), "").rpartition(".")
    siblings = (e.site for e in ledger if e.site.effect == "weights" and e.site.module.rpartition(".")[0] == inside)
    alone = not inside or last.isdecimal()  # one of a list of layers of the same sort
    return label if alone else next((site.label for site in siblings), label)


class _Block(nn.Module):
    """Self-attention with one head, with a skip connection or without."""

    def __init__(self, skips: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16, bias=False) for _ in range(4))
        for layer in (self.value, self.out):
            nn.init.orthogonal_(layer.weight)
        self.skips = skips

    def forward(self, h: Tensor) -> Tensor:
        mixed = self.out(F.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h)))
        return h + mixed if self.skips else mixed


def _tokens(skips: bool) -> Example:
    """Six tokens in eight blocks; the class of each is whether one number in it is positive."""
    torch.manual_seed(0)
    blocks = [_Block(skips) for _ in range(8)]
    model, generator = nn.Sequential(nn.Linear(4, 16), *blocks, nn.Linear(16, 1)), torch.Generator().manual_seed(1)
    x = [torch.randn(32, 6, 4, generator=generator) for _ in range(8)]
    batches = [(tokens, (tokens[..., :1] > 0).float()) for tokens in x]
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    return Example(model, optimizer, F.binary_cross_entropy_with_logits, batches)
