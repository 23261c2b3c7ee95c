"""The residual branches of a model: where each begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule, Node

from undertow.activations import recognise
from undertow.cures.surgery.normalise import NORMS
from undertow.cures.surgery.pathways import before, graph_of, is_passive, is_scaled, module_of, sums, tensors
from undertow.theory.matching import Weighted

HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.PReLU)
"""f(s·x) = s·f(x) for s > 0: what is scaled before them is scaled after them."""
TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass(frozen=True)
class Branch:
    """One residual branch, by the paths of its modules; empty where no single module is first or last."""

    head: str
    """Of the first layer, which the stream itself goes into."""
    tail: str
    """Of the last layer or normalisation; what its weights and biases are multiplied by, the branch is."""


def branches(model: nn.Module) -> tuple[list[Branch], str]:
    """In order, and why there are none where the model can't be followed."""
    graph, reason = graph_of(model)
    found = [] if graph is None else [Branch(_head(graph, *sum_), _tail(graph, *sum_)) for sum_ in sums(graph)]
    inner = list(_of_transformers(model))
    return found + inner, "" if found or inner else reason


def _of_transformers(model: nn.Module) -> Iterator[Branch]:
    for name, module in model.named_modules():
        if isinstance(module, TRANSFORMERS):
            attentions = [inner for inner in ("self_attn", "multihead_attn") if hasattr(module, inner)]
            for tail in (*(f"{inner}.out_proj" for inner in attentions), "linear2"):
                yield Branch("", f"{name}.{tail}".lstrip("."))


def _tail(graph: GraphModule, stream: Node, branch: Node) -> str:
    node: Node | None = branch
    while node is not None and node is not stream:
        module = module_of(graph, node)
        if isinstance(module, (Weighted, *NORMS)):
            return str(node.target) if getattr(module, "weight", None) is not None else ""
        kept = is_scaled(node) or isinstance(module, HOMOGENEOUS) or _drops(graph, node)
        node = tensors(node)[0] if kept and tensors(node) else None
    return ""


def _drops(graph: GraphModule, node: Node) -> bool:
    return is_passive(graph, node) and recognise(module_of(graph, node)) is None


def _head(graph: GraphModule, stream: Node, branch: Node) -> str:
    """The one layer of the branch that the stream goes into; none where a normalisation or several stand there."""
    inside = before(branch) - before(stream)
    first = [node for node in inside if stream in tensors(node)]
    if len(first) == 1 and isinstance(module_of(graph, first[0]), (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return str(first[0].target)
    return ""
