"""How sharp the attention of a training model is: in some of the measured steps, for a few queries, read on the side.

Fused attention keeps its probabilities to itself; a few rows of its logits are computed once more.  A softmax that is
written out is read where a product takes it up.  Neither draws a random number nor enters the user's graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from undertow.foundation.calls import Calls
from undertow.probe.tracing.tap import _Hook as Hook
from undertow.probe.tracing.trace import Guard
from undertow.probe.unrolled.attention import bound, is_usual, mask_of, projected, read_attention
from undertow.probe.unrolled.seldom import Seldom
from undertow.record import AttentionReading, NotObserved
from undertow.record.operations import PLUMBING, PRODUCTS, operation_name
from undertow.record.stack import Stack

SAMPLES = 4
"""Of a batch.  Ours."""
QUERIES = 32
"""Of each sample and head, evenly spread.  Ours."""
LAST = -1


class Attending:
    """While armed, reads the attentions in the first training pass of a step; `measured()` hands them over."""

    def __init__(self, model: nn.Module, guard: Guard, note: Callable[[NotObserved], None]) -> None:
        self._model, self._guard, self._seldom = model, guard, Seldom()
        self._notes, self._read = note, guard(self._read_or_note)
        self.readings: dict[str, AttentionReading] = {}
        self._open: _Pass | None = None
        self._handles: list[Any] = []

    def arm(self, step: int) -> None:
        """Before the passes of a measured step, after the tap, whose function mode is the outer one."""
        if not self._seldom.new(step):
            return
        self.disarm()
        if self._seldom.wants(step):
            self._handles = [
                self._model.register_forward_pre_hook(Hook(self._guard(self._begin))),
                self._model.register_forward_hook(Hook(self._end), prepend=True, always_call=True),
            ]

    def disarm(self) -> None:
        self._end()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.readings = {}

    def measured(self) -> dict[str, AttentionReading]:
        """By the name of the site: of the softmax that is written out, or of the fused call."""
        found = self.readings
        self.disarm()
        return found

    def _begin(self, module: nn.Module, args: Any) -> None:
        trained = module.training and torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1  # pyright: ignore
        if self._open is None and not self.readings and trained and not torch.compiler.is_compiling():
            self._open = _Pass(self._model, Calls(self._call), self._guard)
            self._open.stack.enter(module)

    def _end(self, *_: Any) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()

    def _call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        if self._open is not None:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                self._read(self._open, function, args, kwargs, output)
        return output

    def _read_or_note(self, opened: _Pass, function: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        try:
            self._read_call(opened, function, args, kwargs, output)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:  # nested tensors, a call that is new to us
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            self._notes(NotObserved("attention", f"its logits could not be computed again: {reason}"))

    def _read_call(self, opened: _Pass, function: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        name = operation_name(function)
        if name == "softmax" and isinstance(args[0], Tensor) and args[0].requires_grad:
            if isinstance(output, Tensor) and _dimension(args, kwargs) in (LAST, output.dim() - 1) and output.dim() > 1:
                opened.softmaxes[id(output)] = opened.site(name), args[0], output
        elif function is F.scaled_dot_product_attention:
            self._note(opened.site(name), *_fused(*args, **kwargs))
        elif function is F.multi_head_attention_forward:
            site = opened.site(name)
            if is_usual(args, kwargs):
                self._note(site, *_heads(bound(args, kwargs)))
        elif opened.softmaxes and (name in PLUMBING or name == "dropout") and isinstance(output, Tensor):
            if (found := opened.softmaxes.get(id(args[0]))) is not None:
                opened.softmaxes[id(output)] = found[0], found[1], output
        elif opened.softmaxes and name in PRODUCTS:
            for place, operand in enumerate(args):
                if (found := opened.softmaxes.get(id(operand))) is not None:
                    self._note(found[0], *_rows(found[1], args[place + 1 :]))

    def _note(self, site: str, logits: Tensor, probabilities: Tensor, values: Tensor | None) -> None:
        if site not in self.readings:
            self.readings[site] = read_attention(logits, probabilities, values)


class _Pass:
    """One forward pass: the modules under way, and the softmaxes that no product has taken up yet."""

    def __init__(self, model: nn.Module, calls: Calls, guard: Guard) -> None:
        self.stack = Stack(model)
        self.softmaxes: dict[int, tuple[str, Tensor, Tensor]] = {}
        """By the identity of the tensor that holds the probabilities: the site, the logits, and the tensor itself."""
        self._calls = calls
        self._handles = [
            register_module_forward_pre_hook(guard(lambda module, _args: self.stack.enter(module) and None)),
            register_module_forward_hook(guard(lambda module, *_: self.stack.leave(module) and None), always_call=True),
        ]
        calls.__enter__()

    def site(self, name: str) -> str:
        return self.stack.site(name, "other").name

    def close(self) -> None:
        self._calls.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()
        self.softmaxes.clear()


def _dimension(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("dim")


def _rows(logits: Tensor, operands: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """A few queries of a few samples of logits (…, queries, keys), with the values that they are multiplied with."""
    values = next((o for o in operands if isinstance(o, Tensor)), None)
    if values is None or logits.dim() < 3 or not values.shape[:-1] == logits.shape[:-1] == _turned(logits.shape):
        values = None  # an attention to something else, or an einsum that orders its dimensions in another way
    lead = logits[:SAMPLES] if logits.dim() > 2 else logits[: SAMPLES * QUERIES].unsqueeze(0)
    few = lead[..., _spread(lead.shape[-2]), :].float()
    return few, few.softmax(-1), None if values is None else values[:SAMPLES]


def _turned(shape: torch.Size) -> torch.Size:
    """(…, keys) of a shape (…, queries, keys)."""
    return shape[:-2] + shape[-1:]


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    to_itself = query.shape[-2] == key.shape[-2]
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    if query.dim() > 3:
        query, key, value = query[:SAMPLES], key[:SAMPLES], value[:SAMPLES]
        attn_mask = attn_mask if attn_mask is None or attn_mask.dim() < query.dim() else attn_mask[:SAMPLES]
    places = _spread(query.shape[-2]).to(query.device)
    size = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = (query[..., places, :] * size).float() @ key.float().transpose(-2, -1)
    if is_causal:
        later = torch.arange(key.shape[-2], device=query.device) > places[:, None]
        logits = logits.masked_fill(later, -math.inf)
    if attn_mask is not None:
        mask = attn_mask[..., places, :] if attn_mask.dim() > 1 and attn_mask.shape[-2] > 1 else attn_mask
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else logits + mask
    return logits, torch.softmax(logits, -1).nan_to_num(), value if to_itself else None  # without any key it gives NaN


def _heads(a: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    batched = a["query"].dim() == 3
    given = [a[n][:, :SAMPLES] if batched else a[n].unsqueeze(1) for n in ("query", "key", "value")]
    query, key, value = projected(a, given)
    attention, padding = a["attn_mask"], a["key_padding_mask"]
    few = {
        "attn_mask": attention[: SAMPLES * a["num_heads"]]
        if attention is not None and attention.dim() == 3
        else attention,
        "key_padding_mask": padding if padding is None or not batched else padding[:SAMPLES],
    }
    return _fused(query, key, value, mask_of(few, query, key.shape[-2]))


def _spread(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, QUERIES)).round().long()
