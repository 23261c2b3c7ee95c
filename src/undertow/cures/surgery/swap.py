"""Changes inside a model: hidden activations swapped or preceded by a normalisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pprint import pformat

from torch import nn

from undertow.activations import Activation, recognise
from undertow.activations.recognition import substitute
from undertow.cures.cure import Cure
from undertow.cures.surgery.normalise import placing
from undertow.cures.surgery.survey import Survey, survey
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

    def change(self, training: Training) -> None:
        swap_activations(training, self.layer)

    def patch(self, training: Training) -> str:
        return swap_patch(training, self.layer)


def replaceable(found: Survey, new: Activation) -> list[str]:
    """The hidden activations that are not yet `new`."""
    return [name for name, call in found.hidden().items() if call.activation != new]


def swap_refused(training: Training, layer: Layer) -> str | None:
    """Why no hidden activation can be swapped for this one, or None."""
    found = survey(training)
    if not found.hidden():
        return found.nothing_to_edit
    new = layer()
    if not replaceable(found, _known(new)):
        return say("cures.refused.already", layer=str(new))
    return frozen_refused(training)


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
    model = training.model
    like = next(model.parameters())
    names = replaceable(survey(training), _known(layer()))
    substitute(model, {model.get_submodule(name): layer().to(like) for name in names})
    redraw(training)


def redraw(training: Training, distribution: Distribution = "normal") -> None:
    """Draw the weights with the gains of the model's own activations; the optimizer forgets its averages."""
    match_(training.model, distribution=distribution)
    training.optimizer.state.clear()


def swap_patch(training: Training, layer: Layer) -> str:
    """The lines that swap, for a script that has `model` and makes its optimizer afterwards."""
    new = layer()
    names = replaceable(survey(training), _known(new))
    registered = dict(training.model.named_modules(remove_duplicate=False))
    changed = {registered[name] for name in names}
    types = sorted({type(module).__name__ for module in changed})
    lines = ["import undertow as ut", "from torch import nn", ""]
    if all(getattr(nn, type(module).__name__, None) is type(module) for module in changed):
        kinds = f"nn.{types[0]}" if len(types) == 1 else f"({', '.join(f'nn.{name}' for name in types)})"
        kept = [n for n, m in registered.items() if m not in changed and type(m).__name__ in types]
        lines += [
            "for name, module in list(model.named_modules(remove_duplicate=False)):",
            f"    if isinstance(module, {kinds})" + (f" and name not in {kept!r}:" if kept else ":"),
        ]
    else:
        lines += [f"for name in {pformat([n for n, m in registered.items() if m in changed], compact=True)}:"]
    inner = "        " if "isinstance" in lines[-1] else "    "
    placed = placing(training) if list(new.parameters()) else ""
    return "\n".join([*lines, f"{inner}model.set_submodule(name, nn.{new}{placed})", redraw_line()]) + "\n"


def redraw_line(distribution: Distribution = "normal") -> str:
    given = "" if distribution == "normal" else f", distribution={distribution!r}"
    return f"ut.init.match_(model{given})  # {say('cures.patch.match')}"


def _known(module: nn.Module) -> Activation:
    found = recognise(module)
    assert found is not None, f"{module} is no known activation"
    return found
