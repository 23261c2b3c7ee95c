"""Changes inside a model: hidden activations swapped or preceded by a normalisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pprint import pformat

from torch import nn

from undertow.activations import Activation, recognise
from undertow.activations.recognition import substitute
from undertow.cures.cure import Cure
from undertow.cures.surgery.attributes import put, put_lines
from undertow.cures.surgery.functional import functional_edits, hidden_functions, usual_function
from undertow.cures.surgery.normalise import placing
from undertow.cures.surgery.source import Edit, edits_patch
from undertow.cures.surgery.survey import Call, survey
from undertow.cures.training import Training
from undertow.foundation import say
from undertow.theory import match_
from undertow.theory.initialise import Distribution
from undertow.theory.matching import Weighted

Layer = Callable[[], nn.Module]
SHOWN = 3
"""Layers named in a refusal."""


class Swap(Cure):
    """Another activation in place of every hidden one, with weights drawn for it: a subclass names its `layer`."""

    changes_network = True

    @abstractmethod
    def layer(self) -> nn.Module:
        """A new one, as `torch.nn` has it."""

    def applies(self, training: Training) -> str | None:
        return swap_refused(training, self.layer)

    def edits(self, training: Training) -> tuple[Edit, ...]:
        """Of a model that calls its activations as functions."""
        found = survey(training)
        return () if found.hidden() or found.held() else functional_edits(training, self.layer())

    def change(self, training: Training) -> None:
        swap_activations(training, self.layer)

    def patch(self, training: Training) -> str:
        if edits := self.edits(training):
            return f"{edits_patch(edits)}import undertow as ut\n\n{redraw_line(activation=_known(self.layer()))}\n"
        return swap_patch(training, self.layer)


def replaceable(calls: Mapping[str, Call], new: Activation) -> list[str]:
    """The activations that are not yet `new`."""
    return [name for name, call in calls.items() if call.activation != new]


def swap_refused(training: Training, layer: Layer) -> str | None:
    """Why no hidden activation can be swapped for this one, or None."""
    found = survey(training)
    hidden = {**found.hidden(), **found.held()}
    new = layer()
    if not hidden:
        return frozen_refused(training) if functional_edits(training, new) else found.nothing_to_edit
    if not replaceable(hidden, _known(new)):
        return say("cures.refused.already", layer=str(new))
    return frozen_refused(training)


def redraw_refused(training: Training) -> str | None:
    """Why the weights can't be drawn for the model's own activations, or None."""
    found = survey(training)
    known = found.calls or hidden_functions(training) or (not found.functional and _linear(training))
    return frozen_refused(training) if known else found.nothing_to_edit


def _linear(training: Training) -> bool:
    """Whether it is a chain of layers without any activation: there the gain is 1."""
    modules = list(training.model.modules())
    return sum(isinstance(m, Weighted) for m in modules) > 1 and not any(isinstance(m, nn.RNNBase) for m in modules)


def frozen_refused(training: Training) -> str | None:
    """Why no weights can be drawn anew: some are frozen, and so are meant to stay."""
    layers = [name for name, m in training.model.named_modules() if isinstance(m, Weighted) and _frozen(m)]
    more = f" … ({len(layers)})" if len(layers) > SHOWN else ""
    return say("cures.refused.frozen", layers=", ".join(layers[:SHOWN]) + more) if layers else None


def _frozen(layer: nn.Module) -> bool:
    return isinstance(layer.weight, nn.Parameter) and not layer.weight.requires_grad


def swap_activations(training: Training, layer: Layer) -> None:
    """Swap every hidden activation and draw the weights anew with the gain of the new one.

    The gain must come along: weights drawn for a sigmoid explode under a ReLU, or die out.
    """
    model, found, new = training.model, survey(training), _known(layer())
    like = next(model.parameters())
    names = replaceable(found.hidden(), new)
    substitute(model, {model.get_submodule(name): layer().to(like) for name in names})
    for path in replaceable(found.held(), new):
        put(model, path, layer().to(like))
    redraw(training)


def redraw(training: Training, distribution: Distribution = "normal") -> None:
    """Draw the weights with the gains of the model's own activations; the optimizer forgets its averages."""
    function = None if survey(training).calls else usual_function(training)
    match_(training.model, distribution=distribution, activation=function)
    training.optimizer.state.clear()


def swap_patch(training: Training, layer: Layer) -> str:
    """The lines that swap, for a script that has `model` and makes its optimizer afterwards."""
    new, found = layer(), survey(training)
    names = replaceable(found.hidden(), _known(new))
    placed = placing(training) if list(new.parameters()) else ""
    written = f"nn.{new}{placed}"
    lines = ["import undertow as ut", "from torch import nn", ""]
    if names:
        lines += _module_lines(training.model, names, written)
    held = replaceable(found.held(), _known(new))
    lines += put_lines(training.model, held, new, written)
    return "\n".join([*lines, redraw_line()]) + "\n"


def _module_lines(model: nn.Module, names: list[str], written: str) -> list[str]:
    """By their type where torch has it, else by their paths."""
    registered = dict(model.named_modules(remove_duplicate=False))
    changed = {registered[name] for name in names}
    types = sorted({type(module).__name__ for module in changed})
    placed = f"model.set_submodule(name, {written})"
    if not all(getattr(nn, type(module).__name__, None) is type(module) for module in changed):
        paths = pformat([n for n, m in registered.items() if m in changed], compact=True)
        return [f"for name in {paths}:", f"    {placed}"]
    kinds = f"nn.{types[0]}" if len(types) == 1 else f"({', '.join(f'nn.{name}' for name in types)})"
    kept = [n for n, m in registered.items() if m not in changed and type(m).__name__ in types]
    return [
        "for name, module in list(model.named_modules(remove_duplicate=False)):",
        f"    if isinstance(module, {kinds})" + (f" and name not in {kept!r}:" if kept else ":"),
        f"        {placed}",
    ]


def redraw_line(
    distribution: Distribution = "normal", training: Training | None = None, activation: Activation | None = None
) -> str:
    """The line that draws the weights; of a model that calls its activations as functions, with their name."""
    if training is not None and not survey(training).calls:
        activation = usual_function(training)
    named = "" if activation is None else f', activation="{activation.name}"'
    given = "" if distribution == "normal" else f', distribution="{distribution}"'
    return f"ut.init.match_(model{named}{given})  # {say('cures.patch.match')}"


def _known(module: nn.Module) -> Activation:
    found = recognise(module)
    assert found is not None, f"{module} is no known activation"
    return found
