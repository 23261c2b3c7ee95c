"""Another activation in the place of one, in a whole model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from torch import nn

from undertow.activations.base import ACTIVATIONS, Activation, Pointwise
from undertow.activations.functions.rectified import Identity
from undertow.activations.lookup import activation
from undertow.activations.recognition.functional import FunctionalCall, Unseen, functional_calls
from undertow.activations.recognition.graph import of_function
from undertow.activations.recognition.modules import of_module
from undertow.foundation import InputError, say

SHOWN = 3
"""Modules named for each reason why they can't be traced; the account has them all.  Ours."""


class Replaced(NamedTuple):
    """One place where a module was put in another's."""

    path: str
    before: Activation
    after: Activation
    old: nn.Module
    new: nn.Module


@dataclass(frozen=True, eq=False)
class Swap:
    """The account of a swap: what was replaced, and what was asked for but stayed."""

    model: nn.Module
    replaced: tuple[Replaced, ...]
    functional: tuple[FunctionalCall, ...]
    """Calls of the same activation as a function in a forward, which stay as they are."""
    unseen: tuple[Unseen, ...]
    """Modules whose forward can't be traced, so that such calls in it are not known."""

    def undo(self) -> None:
        """Put the old modules back, in the mode that the new ones are in.

        Raises
        ------
        InputError
            Where something else was put in a place meanwhile; nothing is changed then.
        """
        registered = dict(self.model.named_modules(remove_duplicate=False))
        for place in self.replaced:
            if registered.get(place.path) is not place.new:
                got = f"a model with another module at {place.path!r} than the swap put there"
                raise InputError(got, "the model as the swap left it", "undo later changes first")
        for place in self.replaced:
            self.model.set_submodule(place.path, place.old.train(place.new.training))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield say("swap.replaced", count=len(self.replaced))
        yield from (f"  {p.path}: {p.before.label} → {p.after.label}" for p in self.replaced)
        if self.functional:
            yield say("swap.functional", count=len(self.functional))
            yield from (f"  {_place(call)}" for call in self.functional)
        if self.unseen:
            yield say("swap.unseen")
            by_reason: dict[str, list[str]] = {}
            for path, reason in self.unseen:
                by_reason.setdefault(reason.split(". ")[0], []).append(path or say("swap.model"))
            for reason, paths in by_reason.items():
                more = f" … ({len(paths)})" if len(paths) > SHOWN else ""
                yield f"  {', '.join(paths[:SHOWN])}{more}: {reason}"


def swap(
    model: nn.Module,
    source: str | Activation | None,
    target: str | Activation,
    *,
    trainable: bool | None = None,
    channels: int = 1,
) -> Swap:
    """Replace the modules of one activation by layers of another, in place; the account has `undo()`.

    A module in several places stays one module in these places.  The new layers are in the mode, on the device and of
    the dtype of the old ones.  Calls as functions (`F.relu(x)` in a forward) stay, and the account lists them.

    Parameters
    ----------
    source:
        A name stands for all parameters ("leaky_relu" for every slope), a preset ("silu") or a definition for its
        own.  None or "*" is every pointwise activation but the identity.
    target:
        A name or a definition.
    trainable, channels:
        As for `Activation.layer`.

    Raises
    ------
    UnknownNameError
        For a name that is no activation's; the message has the nearest ones.
    InputError
        Where no module is replaced; the message has the activations that the model has.
    """
    if not isinstance(model, nn.Module):
        raise InputError(type(model).__name__, "a torch.nn.Module", "swap(model, 'relu', 'silu')")
    wanted, after = _wanted(source), activation(target)
    found = dict(_activations(model))
    chosen = {path: act for path, (_, act) in found.items() if path and wanted(act) and act != after}
    functional = functional_calls(model)
    calls = tuple(call for call in functional.calls if wanted(call.definition) and call.path not in found)
    if not chosen:
        raise InputError(*_nothing(source, [act for _, act in found.values()], calls or tuple(functional.calls)))
    new: dict[nn.Module, nn.Module] = {}
    for path in chosen:
        old = found[path][0]
        if old not in new:
            new[old] = _beside(after.layer(trainable, channels), old, path, model)
    places = [Replaced(path, act, after, found[path][0], new[found[path][0]]) for path, act in chosen.items()]
    substitute(model, new)
    return Swap(model, tuple(places), calls, tuple(functional.unseen))


def substitute(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put new[old] wherever old is registered, in the mode of the old."""
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(path, new[module].train(module.training))


def _wanted(source: str | Activation | None) -> Callable[[Activation], bool]:
    if source is None or source == "*":
        return lambda act: isinstance(act, Pointwise) and not isinstance(act, Identity)
    named = activation(source)
    if isinstance(source, str) and not ACTIVATIONS[source].preset:
        return lambda act: type(act) is type(named) and act.name == named.name
    return lambda act: act == named


def _activations(module: nn.Module, path: str = "") -> Iterator[tuple[str, tuple[nn.Module, Activation]]]:
    """Every place of an activation module, with what it is."""
    act = of_module(module) or _own(module)
    if act is not None:
        yield path, (module, act)
        return
    for name, child in module._modules.items():  # named_children leaves out repeats
        if child is not None:
            yield from _activations(child, f"{path}.{name}" if path else name)


def _own(module: nn.Module) -> Activation | None:
    """The activation that a user's own module without children is: one that returns x * torch.sigmoid(x)."""
    home = type(module).__module__
    return None if module._modules or home.startswith(("torch.", "undertow.")) else of_function(module)


def _beside(layer: nn.Module, old: nn.Module, path: str, model: nn.Module) -> nn.Module:
    """The layer on the device and of the dtype of the old module, else of the weights next to it, else the model's."""
    near = (old, model.get_submodule(path.rpartition(".")[0]), model)
    tensors = (t for module in near for t in chain(module.parameters(), module.buffers()) if t.is_floating_point())
    like = next(tensors, None)
    return layer if like is None else layer.to(device=like.device, dtype=like.dtype)


def _place(call: FunctionalCall) -> str:
    where = f" ({call.where})" if call.where else ""
    return f"{call.path or say('swap.model')}: {call.definition.label}{where}"


def _nothing(
    source: str | Activation | None, modules: list[Activation], calls: tuple[FunctionalCall, ...]
) -> tuple[str, str, str]:
    what = source.label if isinstance(source, Activation) else source or "*"
    has = [f"{label} × {count}" for label, count in Counter(act.label for act in modules).items()]
    as_functions = f"; as functions: {', '.join(map(_place, calls))}" if calls else ""
    got = f"{what!r} for a model with {', '.join(has) or 'no activation'} as modules{as_functions}"
    instead = "swap(model, '*', target)" if has else "a module in place of the function: self.act = nn.ReLU()"
    return got, "an activation that a module of the model is, other than the target", instead
