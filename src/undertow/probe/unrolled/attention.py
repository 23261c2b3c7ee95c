"""Fused attention, computed again as logits, softmax and a sum, so that its probabilities can be read.

softmax(scale · q kᵀ + mask) v,  scale = 1/√(head size)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from undertow.native import statistics
from undertow.probe.unrolled.recurrent import difference, tolerance
from undertow.record import AttentionReading, NotObserved, Reading

MASKED = -9999.0
"""A logit from which on a key is hidden: masks are -inf, the format's lowest number, -1e9 or -1e4."""
CLOSED = 1e-3
"""Three decades below its best a softmax passes nothing back, as a flow of a thousandth is none."""


class Explicit(TorchFunctionMode):
    """While the model runs, fused attention in it is computed in the open; each result is held against the fused one.

    Where they differ by more than rounding, or a layer uses what is not written here (bias_k, add_zero_attn), the fused
    result is used and a note says so.  Dropout on the probabilities is drawn anew.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.readings: dict[str, AttentionReading] = {}
        self.notes: dict[str, NotObserved] = {}
        self._model = model
        self._paths = {id(m): name for name, m in model.named_modules()}
        self._stack: list[str] = []
        self._calls: dict[str, int] = {}
        self._handles: list[Any] = []

    def arm(self) -> None:
        """From now on; after the hooks of a tap, whose function mode must be the outer one."""
        inside = ExitStack()

        def start(*_: Any) -> None:
            inside.enter_context(self)

        def leave(*_: Any) -> None:
            self._stack.pop()

        self._handles = [
            self._model.register_forward_pre_hook(start),
            self._model.register_forward_hook(lambda *_: inside.close(), prepend=True, always_call=True),
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(leave, always_call=True),
        ]

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _enter(self, module: nn.Module, _args: Any) -> None:
        self._stack.append(self._paths.get(id(module)) or (self._stack[-1] if self._stack else "") or "forward")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._compare(func, attend, args, kwargs)
        if func is F.multi_head_attention_forward:
            return self._compare(func, heads, args, kwargs)
        return func(*args, **kwargs)

    def _compare(self, fused: Any, explicit: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        path = self._stack[-1] if self._stack else "forward"
        if fused is F.multi_head_attention_forward and not is_usual(args, kwargs):
            return self._give_up(path, "it adds keys of its own", fused(*args, **kwargs))
        seen: list[tuple[Tensor, Tensor]] = []
        same, apart = True, 0.0
        output = explicit(*args, **kwargs, look=lambda *pair: seen.append(pair))
        with torch.no_grad(), torch._C.DisableTorchFunction():
            if not _drops(fused, args, kwargs):
                expected = fused(*args, **kwargs)
                apart = difference(output, expected)
                same = apart <= tolerance(tree_leaves(expected)[0].dtype)
            for logits, probabilities in seen if same else ():
                count = self._calls[path] = self._calls.get(path, -1) + 1
                self.readings[f"{path}:softmax#{count}"] = read_attention(logits, probabilities)
        if not same:
            return self._give_up(path, f"computed in the open it differs by {apart:.1g}", fused(*args, **kwargs))
        return output

    def _give_up(self, path: str, why: str, output: Any) -> Any:
        self.notes[path] = NotObserved(path, f"fused attention: {why}")
        return output


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    look: Callable[[Tensor, Tensor], None],
) -> Tensor:
    """`F.scaled_dot_product_attention`; `look` is given logits and probabilities.  A row without a key gives zeros."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    logits = torch.matmul(query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale), key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        logits = logits.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        logits = logits + attn_mask
    empty = logits.detach().eq(-math.inf).all(-1, keepdim=True)
    some_empty = bool(empty.any())
    probabilities = torch.softmax(logits.masked_fill(empty, 0.0) if some_empty else logits, -1)
    if some_empty:
        probabilities = probabilities.masked_fill(empty, 0.0)
    look(logits.detach(), probabilities.detach())
    return torch.matmul(F.dropout(probabilities, dropout_p) if dropout_p else probabilities, value)


def heads(*args: Any, look: Callable[[Tensor, Tensor], None], **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward` without keys of its own (bias_k, add_zero_attn, static_k)."""
    a = bound(args, kwargs)
    batched = a["query"].dim() == 3
    q, k, v = projected(a, [a[n] if batched else a[n].unsqueeze(1) for n in ("query", "key", "value")])
    mask = mask_of(a, q, k.shape[-2])
    kept: list[Tensor] = []

    def keep(logits: Tensor, probabilities: Tensor) -> None:
        kept.append(probabilities)
        look(logits, probabilities)

    dropout = a["dropout_p"] if a["training"] else 0.0
    output = attend(q, k, v, mask, dropout, look=keep).permute(2, 0, 1, 3).flatten(2)
    output = F.linear(output, a["out_proj_weight"], a["out_proj_bias"])
    shown = kept[0].mean(1) if a["average_attn_weights"] else kept[0]
    output, shown = (output, shown) if batched else (output.squeeze(1), shown.squeeze(0))
    return output, shown if a["need_weights"] else None


def projected(a: dict[str, Any], given: list[Tensor]) -> list[Tensor]:
    """Query, key and, where it is given, value: (length, batch, size) becomes (batch, head, length, head size)."""
    own = a["use_separate_proj_weight"]
    weights = [a[f"{n}_proj_weight"] for n in "qkv"] if own else a["in_proj_weight"].chunk(3)
    biases = (None,) * 3 if a["in_proj_bias"] is None else a["in_proj_bias"].chunk(3)
    number = a["num_heads"]
    return [
        F.linear(x, w, b).unflatten(-1, (number, -1)).permute(1, 2, 0, 3)
        for x, w, b in zip(given, weights, biases, strict=False)
    ]


def bound(args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of `F.multi_head_attention_forward` by their names."""
    found = _SIGNATURE.bind(*args, **kwargs)
    found.apply_defaults()
    return found.arguments


_SIGNATURE: inspect.Signature = inspect.signature(F.multi_head_attention_forward)


def is_usual(args: Any, kwargs: Any) -> bool:
    """Whether it has no keys of its own."""
    a = bound(args, kwargs)
    return not a["add_zero_attn"] and all(a[n] is None for n in ("bias_k", "bias_v", "static_k", "static_v"))


def mask_of(a: dict[str, Any], query: Tensor, keys: int) -> Tensor | None:
    """Both masks as one that is added; in torch's module True means hidden."""
    batch, number, length, _ = query.shape
    attention, padding = a["attn_mask"], a["key_padding_mask"]
    found: list[Tensor] = []
    if attention is not None:
        found.append(attention.view(batch, number, length, keys) if attention.dim() == 3 else attention)
    if padding is not None:
        found.append(padding.view(batch, 1, 1, keys))
    added = [query.new_zeros(m.shape).masked_fill(m, -math.inf) if m.dtype is torch.bool else m for m in found]
    return sum(added[1:], added[0]) if added else None


def _drops(fused: Any, args: Any, kwargs: Any) -> bool:
    if fused is F.multi_head_attention_forward:
        a = bound(args, kwargs)
        return bool(a["training"] and a["dropout_p"])
    return bool(args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0))


def read_attention(logits: Tensor, probabilities: Tensor, values: Tensor | None = None) -> AttentionReading:
    """What a softmax over keys, the last dimension, was given and made of it; a masked key counts as none."""
    p = probabilities.double()
    keys = p.shape[-1] - logits.le(MASKED).sum(-1)
    rows = keys > 1
    entropy = -torch.special.xlogy(p, p).sum(-1)[rows] / keys[rows].log()
    largest = p.amax(-1)
    closed = (largest * (1 - largest))[rows] < CLOSED / 4
    return AttentionReading(
        logits=Reading(*statistics(logits)),
        entropy=entropy.mean().item() if rows.any() else math.nan,
        largest=largest[keys > 0].mean().item(),
        closed=closed.double().mean().item() if rows.any() else math.nan,
        apart=math.nan if values is None else _apart(logits, values),
    )


def _apart(logits: Tensor, values: Tensor) -> float:
    """Of values (…, keys, size), beside logits (…, queries, keys): `AttentionReading.apart`."""
    seen = logits.gt(MASKED).any(-2)
    weights = (seen & (seen.sum(-1, keepdim=True) > 1)).unsqueeze(-1).float()
    count = weights.sum(-2, keepdim=True).clamp_min(1)
    v = values.detach().float()
    mean = (weights * v).sum(-2, keepdim=True) / count
    whole = (weights * v.square()).sum().item()
    return math.sqrt((weights * (v - mean).square()).sum().item() / whole) if whole > 0 else math.nan
