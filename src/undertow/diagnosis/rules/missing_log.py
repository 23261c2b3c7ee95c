"""A negative log-likelihood of numbers that are no logarithms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH, TERMS
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Term

CURES: dict[Cause, tuple[str, ...]] = {"loss": ("logits",)}
PROBABILITIES = ("softmax", "sigmoid")


@rule
@dataclass(frozen=True)
class MissingLog(Rule):
    """`nll_loss` is given probabilities: it takes their logarithms.

    What
    ----
    The graph of the loss has a softmax or a sigmoid right before `nll_loss`.

    Why it hurts
    ------------
    `nll_loss` takes no logarithm, it only picks the right class's number and changes its sign.  Minus a probability
    has the smallest gradient where the model is most wrong: what starts badly learns next to nothing.

    Evidence
    --------
    The graph of the loss.

    Counter-evidence
    ----------------
    Any other operation between, which may be a logarithm of the user's own.

    Cures
    -----
    `cross_entropy` of what the last layer gives, or `log_softmax` in the place of the softmax.

    References
    ----------
    PyTorch documentation, NLLLoss ("the input given through a forward call is expected to contain log-probabilities").
    """

    kind = "loss_mismatch"
    needs = (PATH, TERMS)

    def check(self, recording: Recording) -> Iterator[Finding]:
        assert recording.wiring is not None
        term = next((t for t in recording.wiring.terms if _without_log(t)), None)
        if term is None:
            return
        given, first = term.operations[1], recording.snapshots[0]
        entry = next((e for e in reversed(first.ledger.path) if e.site.operation == given), None)
        yield Finding(
            kind="loss_mismatch",
            severity="warning",
            cause="loss",
            where=entry.site.label if entry else "loss",
            step=first.step,
            evidence=(Evidence("log_missing", 0.0, 1.0, None, "log_likelihood"),),
            cures=CURES["loss"],
            values={"given": given},
            rule=self.name,
        )

    @staticmethod
    def sick() -> Example:
        return _likelihood(nn.Softmax(1))

    @staticmethod
    def healthy() -> Example:
        return _likelihood(nn.LogSoftmax(1))


def _without_log(term: Term) -> bool:
    likelihood, *before = term.operations
    return likelihood.startswith("nll_loss") and before[:1] != [] and before[0] in PROBABILITIES


def _likelihood(last: nn.Module) -> Example:
    model = nn.Sequential(mlp("relu", depth=2, he=True), last)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(output, target)

    return Example(model, torch.optim.SGD(model.parameters(), 0.05), loss, classify(model).batches)
