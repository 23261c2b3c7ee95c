"""Residual branches that begin small."""

from __future__ import annotations

from dataclasses import dataclass
from pprint import pformat

import torch

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.branches import branches
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("residual_scale", "deepnorm", "skip_init")
@dataclass(frozen=True)
class ResidualScale(Cure):
    """W ← W / L, b ← b / L for the last layer of each of the L residual branches: x + f(x) begins as x + f(x) / L.

    When: a deep residual network without normalisation, or with norms behind the sums, grows its signal or its
    gradient with depth.
    Why: each sum adds the variance of its branch, so that L of them multiply it by up to 2^L; with branches of 1/L all
    of them together change the stream by about its own size.  The weights are scaled, not the output, so that each
    layer learns as fast as before.
    Not: plain chains, which have no sums; branches that begin at zero on purpose already.

    Source: De and Smith (2020), SkipInit, arXiv:2002.10444; Zhang, Dauphin and Ma (2019), Fixup, arXiv:1901.09321;
    Bachlechner et al. (2020), ReZero, arXiv:2003.04887; for norms behind the sums Wang et al. (2022), DeepNorm,
    arXiv:2203.00555.
    """

    name = "residual_scale"
    reference = Reference("De and Smith", 2020, "Batch normalization biases residual blocks", "2002.10444")
    treats = ("exploding", "vanishing", "nonfinite", "unstable_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        tails, reason = _tails(training)
        return None if tails else reason or say("cures.refused.no_branches")

    @torch.no_grad()
    def change(self, training: Training) -> None:
        tails, _ = _tails(training)
        for name in tails:
            for parameter in training.model.get_submodule(name).parameters():
                parameter.div_(len(tails))

    def patch(self, training: Training) -> str:
        tails, _ = _tails(training)
        return (
            f"for name in {pformat(tails, width=100, compact=True)}:\n"
            "    for parameter in model.get_submodule(name).parameters():\n"
            f"        parameter.data.div_({len(tails)})\n"
        )


def _tails(training: Training) -> tuple[list[str], str]:
    """The last modules of the branches; each once, and none of them frozen."""
    found, reason = branches(training.model)
    names = dict.fromkeys(branch.tail for branch in found if branch.tail)
    parameters = {name: list(training.model.get_submodule(name).parameters()) for name in names}
    return [name for name in names if all(p.requires_grad for p in parameters[name])], reason
