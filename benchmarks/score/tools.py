"""What is scored: our own diagnosis, two folk rules, and the peers of `peers.py`."""

from __future__ import annotations

import math

import torch
from benchmarks.score import peers
from benchmarks.score.outcome import Said, Tool
from benchmarks.score.training import Training
from torch import Tensor, nn


def undertow(training: Training) -> list[Said]:
    """Every step measured in full, so that the score does not hang on the machine's speed."""
    return watched(training, None)


def undertow_default(training: Training) -> list[Said]:
    """With the default budget: the first five steps, and later ones for 2 % of the time."""
    return watched(training, 0.02)


def watched(training: Training, budget: float | None) -> list[Said]:
    import undertow as ut

    with ut.watch(training.model, training.optimizer if training.one_optimizer else None, budget=budget) as run:
        training.train()
    findings = [f for f in run.diagnose().findings if f.severity != "note"]
    return [Said(f.kind, f.severity, f.cause, f.where, f.step) for f in findings]


def gradient_ratio(training: Training) -> list[Said]:
    """The folk rule: norm of the first weight's gradient over the last one's, with AutoTrainer's numbers.

    Zhang et al. (ICSE 2021): vanishing where the ratio is below 1e-3 and the first norm below 1e-4, exploding where
    the ratio is above 70 or not a number. Here for the typical step: in at least half of them.
    """
    weights = [p for p in training.model.parameters() if p.dim() > 1 and p.requires_grad]
    seen: list[str] = []

    def look(_optimizer: torch.optim.Optimizer, *_: object) -> None:
        norms = [float(p.grad.norm()) for p in weights if p.grad is not None and not p.grad.is_sparse]
        if len(norms) < 2:
            return
        first, last = norms[0], norms[-1]
        ratio = first / last if last else float("inf") if first else 0.0
        if math.isnan(ratio) or ratio > 70:
            seen.append("exploding")
        elif ratio < 1e-3 and first < 1e-4:
            seen.append("vanishing")
        else:
            seen.append("")

    handle = training.optimizer.register_step_pre_hook(look)
    training.train()
    handle.remove()
    return [Said(kind) for kind in ("exploding", "vanishing") if 2 * seen.count(kind) >= len(seen) > 0]


def zero_share(training: Training) -> list[Said]:
    """The other folk rule: dead where, in at least half of the steps, 70 % of what a ReLU layer says is zero."""
    shares: dict[nn.Module, list[bool]] = {}

    def look(module: nn.Module, _inputs: object, out: Tensor) -> None:
        shares.setdefault(module, []).append(float((out == 0).float().mean()) > 0.7)

    handles = [m.register_forward_hook(look) for m in training.model.modules() if isinstance(m, nn.ReLU | nn.ReLU6)]
    training.train()
    for handle in handles:
        handle.remove()
    return [Said("dead")] * any(2 * sum(seen) >= len(seen) for seen in shares.values())


TOOLS: dict[str, Tool] = {
    "undertow": undertow,
    "undertow-default-budget": undertow_default,
    "gradient-ratio": gradient_ratio,
    "zero-share": zero_share,
    **peers.PEERS,
}
