"""What holds for every row: three runs from one seed, one plain, one watched, one with autograd as the witness."""

from __future__ import annotations

import copy
import io
import pickle
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.optim.optimizer as torch_optimizer
from rows import ROWS, Row, Setting
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from witnessed import Comparison, compare, relative, truth

import undertow as ut
from undertow.record import Snapshot


@dataclass
class Done:
    """A finished training: its losses, all of its state, what it leaves behind."""

    setting: Setting
    losses: list[Tensor]
    warned: list[str]
    seconds: float
    left: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)


def _train(row: Row, watching: bool) -> tuple[Done, Any]:
    setting, run = row.setting(), None
    start = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if watching:
            with ut.watch(setting.model, setting.optimizer, budget=None) as run:
                losses = setting.train()
        else:
            losses = setting.train()
    seconds = time.process_time() - start
    done = Done(setting, losses, [str(w.message) for w in warned], seconds)
    done.state, done.left = _state(setting), _left_behind(setting)
    return done, run


@cache
def plain(id: str) -> Done:
    return _train(ROWS[id], watching=False)[0]


@cache
def watched(id: str) -> tuple[Done, Any]:
    return _train(ROWS[id], watching=True)


def _state(setting: Setting) -> dict[str, Tensor]:
    """Weights, buffers, the optimizer's memory, the random state."""
    found = {name: t for name, t in setting.model.state_dict().items() if isinstance(t, Tensor)}
    for index, memory in enumerate(setting.optimizer.state.values()):
        found |= {f"optimizer {index} {name}": t for name, t in memory.items() if isinstance(t, Tensor)}
    found |= {f"gradient {n}": p.grad for n, p in setting.model.named_parameters() if p.grad is not None}
    return {name: t.detach().clone() for name, t in found.items()} | {"random state": torch.get_rng_state()}


def _left_behind(setting: Setting) -> dict[str, Any]:
    """Everything that a hook or a patch would change: attributes and hooks of modules, parameters and of torch."""
    found: dict[str, Any] = {}
    for name, module in setting.model.named_modules():
        for attribute, value in vars(module).items():
            found[f"{name}.{attribute}"] = len(value) if isinstance(value, dict) else type(value).__name__
    for name, p in setting.model.named_parameters():
        found[f"{name} hooks"] = (len(p._backward_hooks or ()), len(p._post_accumulate_grad_hooks or ()))
    for name, value in vars(torch_module).items():
        if name.startswith("_global_") and isinstance(value, dict):
            found[name] = len(value)
    found["steps"] = len(torch_optimizer._global_optimizer_pre_hooks), len(torch_optimizer._global_optimizer_post_hooks)
    found["modes"] = torch.overrides._len_torch_function_stack()  # type: ignore[attr-defined]
    found["own steps"] = {n: len(v) for n, v in vars(setting.optimizer).items() if n.endswith("_hooks")}
    found["pickles"], found["copies"] = _works(_pickled, setting.model), _works(copy.deepcopy, setting.model)
    return found


def _pickled(model: nn.Module) -> None:
    torch.save(model, io.BytesIO(), pickle_module=pickle)


def _works(call: Any, model: nn.Module) -> bool:
    try:
        call(model)
    except Exception:  # whatever the model's own code raises, with us or without
        return False
    return True


# ------------------------------------------------------------ the properties


def differences(id: str) -> list[str]:
    """What watching changed; nothing."""
    one, (other, _) = plain(id), watched(id)
    found = [f"loss {k}" for k, (a, b) in enumerate(zip(one.losses, other.losses, strict=True)) if not same(a, b)]
    found += [n for n in one.state.keys() | other.state.keys() if not same(one.state.get(n), other.state.get(n))]
    found += [n for n in one.left.keys() | other.left.keys() if one.left.get(n) != other.left.get(n)]
    return found + [f"warning: {w}" for w in other.warned if w not in one.warned]


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """To the last bit, NaN included."""
    if a is None or b is None:
        return a is b
    if a.is_sparse or b.is_sparse:
        return a.is_sparse and b.is_sparse and same(a.coalesce().values(), b.coalesce().values())
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))


def _bits(t: Tensor) -> Tensor:
    return t.detach().contiguous().view(torch.uint8) if t.ndim else t.detach().reshape(1).view(torch.uint8)


@dataclass(frozen=True)
class Against:
    """A measured step against autograd."""

    sites: Comparison
    parameters: float
    """The largest relative error of a parameter's gradient."""
    worst: str


@cache
def against_autograd(id: str) -> dict[int, Against]:
    """The first and the last measured step against autograd in runs that nobody watches."""
    snapshots = watched(id)[1].recording.snapshots
    return {s.step: _against(id, s.step, s) for s in (snapshots[0], snapshots[-1])}


def _against(id: str, k: int, snapshot: Snapshot) -> Against:
    setting = ROWS[id].setting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for j in range(k):
            setting.run(j)
        true = truth(setting.model, lambda: setting.loss(k))
    sizes = {n: r.gradient.rms for n, r in snapshot.parameters.items() if r.gradient is not None}
    errors = {n: relative(sizes.get(n, 0.0), size) for n, size in true.parameters.items() if size is not None}
    worst = max(errors, key=lambda n: errors[n])
    return Against(compare(snapshot.ledger, true), errors[worst], worst)


def activations(id: str) -> dict[str, int]:
    """How many sites of each activation the last ledger has."""
    ledger = watched(id)[1].recording.snapshots[-1].ledger
    sites = [e for e in ledger if e.site.effect == "activation"]
    return dict(Counter(e.slope.activation if e.slope else e.site.operation for e in sites))


def findings(id: str) -> dict[str, str]:
    """The kinds above a note, and where."""
    return {f.kind: f.where for f in watched(id)[1].diagnose().findings if f.severity != "note"}


def notes(id: str) -> list[str]:
    return [str(n) for n in watched(id)[1].diagnose().not_observed]
