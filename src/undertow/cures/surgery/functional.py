"""Activations that a model calls as functions: those before another layer, and another one in their place."""

from __future__ import annotations

from collections import Counter

from torch import nn

from undertow.activations import ACTIVATIONS, Activation, Identity, Pointwise, recognise, recognise_call
from undertow.cures.surgery import survey
from undertow.cures.surgery.calls import Call, calls
from undertow.cures.surgery.place import Place
from undertow.cures.surgery.singular import SINGULAR
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.theory.matching import Weighted

FUNCTIONS: dict[type[nn.Module], tuple[str, str]] = {
    nn.ReLU: ("relu", ""),
    nn.LeakyReLU: ("leaky_relu", "negative_slope"),
    nn.ELU: ("elu", "alpha"),
    nn.SELU: ("selu", ""),
    nn.GELU: ("gelu", ""),
    nn.SiLU: ("silu", ""),
    nn.Mish: ("mish", ""),
    nn.Tanh: ("tanh", ""),
    nn.Softplus: ("softplus", ""),
}
"""Of a layer of torch's, its function in torch.nn.functional and the attribute that it takes; a layer with weights of
its own has none."""
PRODUCTS = {"mul", "rmul", "imul", "multiply", "lerp", "addcmul"}
DIFFERENCES = {"sub", "rsub", "isub"}


def functional_edits(training: Training, layer: nn.Module) -> tuple[Edit, ...]:
    """What writes this layer's function in the place of every hidden activation function in the user's source."""
    new, (function, attribute) = recognise(layer), FUNCTIONS.get(type(layer), ("", ""))
    value = [repr(getattr(layer, attribute))] if attribute else []
    edits: list[Edit] = []
    for place, old in hidden_functions(training).items():
        text = place.applied(function, *value) if function and old != new else ""
        if text and place.node is not None:
            edits.append(place.edit(place.node, text))
    return tuple(edits)


def hidden_functions(training: Training) -> dict[Place, Activation]:
    """The places at which elementwise activation functions are called, each time before another layer."""
    return {call.place: act for call, act in _hidden(training) if call.place is not None}


def usual_function(training: Training) -> Activation | None:
    """The one that most of these places call."""
    found = [act for act in hidden_functions(training).values() if act.name in ACTIVATIONS]
    counted = Counter(act.label for act in found)
    return max(found, key=lambda act: counted[act.label], default=None)


def layers_before(training: Training) -> list[survey.Call]:
    """The calls of layers of torch's whose output such a function is given, as if they were the function's own."""
    given = [(call.maker(0), act) for call, act in _hidden(training)]
    return [
        survey.Call(path, act, tuple(made.output.shape), True, producer=type(made.module), source=path, at_output=False)
        for made, act in given
        if made is not None and isinstance(made.module, Weighted) and (path := made.path)
    ]


def output_function(training: Training) -> tuple[Place, Activation] | None:
    """The last elementwise activation function after the last layer, and where it is called."""
    traced = calls(training)
    last = max((i for i, c in enumerate(traced) if any(isinstance(t, nn.Parameter) for t in c.tensors)), default=-1)
    for call in reversed(traced[last + 1 :]):
        act = recognise_call(call.name, call.args, call.kwargs) if call.place and call.module else None
        if isinstance(act, Pointwise) and not isinstance(act, Identity) and call.place and not call.in_place:
            return call.place, act
    return None


def _hidden(training: Training) -> list[tuple[Call, Activation]]:
    traced = calls(training)
    weighted = [i for i, call in enumerate(traced) if any(isinstance(t, nn.Parameter) for t in call.tensors)]
    gates = _gates(traced)
    found: list[tuple[Call, Activation]] = []
    kept: set[Place] = set()
    for index, call in enumerate(traced):
        act = recognise_call(call.name, call.args, call.kwargs) if call.place and call.name not in SINGULAR else None
        if act is None or call.place is None or isinstance(act, Identity):
            continue
        found.append((call, act))
        hidden = isinstance(act, Pointwise) and index < max(weighted, default=0) and id(call.output) not in gates
        if not hidden or call.in_place or call.output.shape != call.args[0].shape or not call.output.requires_grad:
            kept.add(call.place)
    return [(call, act) for call, act in found if call.place not in kept]


def _gates(traced: list[Call]) -> set[int]:
    """The ids of tensors that are multiplied with another signal, by themselves or as 1 - z."""
    found: set[int] = set()
    for call in reversed(traced):
        signals = [t for t in call.tensors if t.requires_grad and not isinstance(t, nn.Parameter)]
        shifted = call.name in DIFFERENCES and id(call.output) in found
        if shifted or (call.name in PRODUCTS and len(signals) > 1):
            found |= {id(t) for t in signals}
    return found
