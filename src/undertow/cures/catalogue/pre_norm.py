"""Transformer layers with the norms at the head of their branches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.branches import TRANSFORMERS
from undertow.cures.surgery.normalise import placing
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("pre_norm")
@dataclass(frozen=True)
class PreNorm(Cure):
    """x + f(norm(x)) instead of norm(x + f(x)) in torch's transformer layers, and a norm behind the last of them.

    When: a transformer with the norms behind the sums does not train without a long warm-up, or not at its depth.
    Why: the sums hand the backward value on as it is; behind them a norm divides it in each layer by the growth of the
    stream, so that at the start the last layers' gradients are the largest by far.
    Not: a pretrained transformer, which has learnt the other order; layers of other libraries.

    Source: Xiong et al. (2020), arXiv:2002.04745.
    """

    name = "pre_norm"
    reference = Reference("Xiong et al.", 2020, "On layer normalization in the transformer architecture", "2002.04745")
    treats = ("exploding", "vanishing", "unstable_lr", "nonfinite")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if any(_behind(training.model)) else say("cures.refused.no_post_norm")

    def change(self, training: Training) -> None:
        like = next(training.model.parameters())
        for layer in list(_behind(training.model)):
            layer.norm_first = True
        for stack in _unfinished(training.model):
            stack.norm = nn.LayerNorm(_width(stack)).to(like)

    def patch(self, training: Training) -> str:
        lines = [
            "from torch import nn",
            "",
            f"# {say('cures.patch.norm')}",
            "for module in model.modules():",
            "    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):",
            "        module.norm_first = True",
        ]
        if any(_unfinished(training.model)):
            lines += [
                "for module in model.modules():",
                "    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)) and module.norm is None:",
                f"        module.norm = nn.LayerNorm(module.layers[-1].linear2.out_features){placing(training)}",
            ]
        return "\n".join(lines) + "\n"


def _behind(model: nn.Module) -> Iterator[nn.TransformerEncoderLayer | nn.TransformerDecoderLayer]:
    yield from (m for m in model.modules() if isinstance(m, TRANSFORMERS) and not m.norm_first)


def _unfinished(model: nn.Module) -> list[nn.TransformerEncoder | nn.TransformerDecoder]:
    """Stacks without a norm at their end, which they need when their sums are not normed."""
    stacks = (m for m in model.modules() if isinstance(m, (nn.TransformerEncoder, nn.TransformerDecoder)))
    return [m for m in stacks if m.norm is None and isinstance(m.layers[-1], TRANSFORMERS)]


def _width(stack: nn.TransformerEncoder | nn.TransformerDecoder) -> int:
    last = stack.layers[-1]
    assert isinstance(last, TRANSFORMERS)
    return last.linear2.out_features
