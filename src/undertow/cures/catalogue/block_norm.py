"""A normalisation at the head of each residual branch."""

from __future__ import annotations

from dataclasses import dataclass
from pprint import pformat

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.branches import branches
from undertow.cures.surgery.normalise import placing
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("block_norm")
@dataclass(frozen=True)
class BlockNorm(Cure):
    """x + f(norm(x)) instead of x + f(x): LayerNorm before linear layers, GroupNorm of one group before convolutions.

    When: a residual network without norms grows its signal with depth, and the gradient with it.
    Why: each branch gets inputs of size 1, so the stream grows by a constant in each block instead of by a factor.
    Not: branches that begin with a normalisation already; features that carry their meaning in their common size.

    Source: He, Zhang, Ren and Sun (2016), Identity mappings, arXiv:1603.05027; Xiong et al. (2020), arXiv:2002.04745;
    Wu and He (2018), arXiv:1803.08494, for GroupNorm.
    """

    name = "block_norm"
    reference = Reference("He, Zhang, Ren and Sun", 2016, "Identity mappings in deep residual networks", "1603.05027")
    treats = ("exploding", "vanishing", "nonfinite", "unstable_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        heads, reason = _heads(training)
        return None if heads else reason or say("cures.refused.no_stream")

    def change(self, training: Training) -> None:
        like = next(training.model.parameters())
        for name, norm in _heads(training)[0].items():
            layer = training.model.get_submodule(name)
            training.model.set_submodule(name, nn.Sequential(norm.to(like).train(layer.training), layer))

    def patch(self, training: Training) -> str:
        placed = placing(training)
        lines = ["from torch import nn", "", f"# {say('cures.patch.norm')}"]
        by_norm: dict[str, list[str]] = {}
        for name, norm in _heads(training)[0].items():
            over = f"1, {norm.num_channels}" if isinstance(norm, nn.GroupNorm) else norm.normalized_shape[0]
            by_norm.setdefault(f"nn.{type(norm).__name__}({over})", []).append(name)
        for made, names in by_norm.items():
            lines += [
                f"for name in {pformat(names, width=100, compact=True)}:",
                f"    model.set_submodule(name, nn.Sequential({made}{placed}, model.get_submodule(name)))",
            ]
        return "\n".join(lines) + "\n"


def _heads(training: Training) -> tuple[dict[str, nn.LayerNorm | nn.GroupNorm], str]:
    """The first layers of the branches, each with its normalisation."""
    found, reason = branches(training.model)
    layers = {branch.head: training.model.get_submodule(branch.head) for branch in found if branch.head}
    return {name: _norm(layer) for name, layer in layers.items()}, reason


def _norm(layer: nn.Module) -> nn.LayerNorm | nn.GroupNorm:
    if isinstance(layer, nn.Linear):
        return nn.LayerNorm(layer.in_features)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return nn.GroupNorm(1, layer.in_channels)
