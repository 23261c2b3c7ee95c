"""What the tests of lean layers share: a plain pair and its lean twin, and counting what autograd keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def kept_bytes(result: Tensor, apart_from: nn.Module | None = None) -> int:
    """Bytes of distinct memory that the graph of `result` keeps for its backward pass, parameters left out.

    Every saved tensor is asked for twice: what is kept comes back as the same memory, what is computed again doesn't.
    """
    known = {p.untyped_storage().data_ptr() for p in apart_from.parameters()} if apart_from else set()
    todo, seen, kept = [result.grad_fn], set(), {}
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [before for before, _ in node.next_functions]
        first, second = (_saved(node), _saved(node))
        for a, b in zip(first, second, strict=True):
            if a.data_ptr() == b.data_ptr():
                kept[a.data_ptr()] = a.nbytes()
    return sum(size for pointer, size in kept.items() if pointer not in known)


def _saved(node: Any) -> list[torch.UntypedStorage]:
    tensors = [getattr(node, name) for name in dir(node) if name.startswith("_saved_")]
    tensors += getattr(node, "saved_tensors", ())
    return [t.untyped_storage() for t in tensors if isinstance(t, Tensor)]


def gradients(model: nn.Module, x: Tensor, autocast: bool = False) -> list[Tensor]:
    """Output and the gradients of input and parameters, the activation's last, with a fixed backward value."""
    model.zero_grad(set_to_none=True)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = model(x * 1)  # not a leaf, as between two layers
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    y.backward(g)
    return [y.detach(), _gradient(x), *(_gradient(p) for p in weights_first(dict(model.named_parameters())))]


def _gradient(t: Tensor) -> Tensor:
    assert t.grad is not None
    return t.grad


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Equal to the last bit, NaN and dtype included."""
    return len(ours) == len(theirs) and all(
        a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(ours, theirs, strict=True)
    )


def twins(plain: nn.Module, lean: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The plain pair and its lean twin, with copies of the pair's weights."""
    values = weights_first(dict(plain.named_parameters()))
    with torch.no_grad():
        for ours, theirs in zip(weights_first(dict(lean.named_parameters())), values, strict=True):
            ours.copy_(theirs)
    return plain, lean


def weights_first(parameters: dict[str, nn.Parameter]) -> list[nn.Parameter]:
    """The weighted layer's, then the activation's: `0.` in a pair, `activation.` in its twin."""
    return [parameters[n] for n in sorted(parameters, key=lambda name: name.startswith(("0.", "activation.")))]
