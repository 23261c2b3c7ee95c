"""Units that no sample reaches, found and drawn anew while a model trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.activations import Pointwise, recognise
from undertow.cures.surgery.survey import survey
from undertow.cures.training import Training
from undertow.theory import gain
from undertow.theory.matching import Weighted

FIRST = 4
"""Batches before the first look; the next ones come at twice, four times … as many, so that each rests on as many
samples as all before it, and late in a run, where a new unit disturbs more, they are rare.  Our choice."""
FAR = 1e3
"""Where an activation that levels off has done so, in float32 at least."""


def mortal(training: Training) -> dict[str, str]:
    """The layers whose units can die, each with the path of its activation, one that is flat on a side."""
    found = survey(training)
    return {
        call.source: call.module
        for call in found.hidden().values()
        if call.producer
        and issubclass(call.producer, Weighted)
        and isinstance(call.activation, Pointwise)
        and _ends_flat(call.activation)
        and sum(call.source == other.source for other in found.calls) == 1
        and training.model.get_submodule(call.source).weight.requires_grad
    }


def _ends_flat(activation: Pointwise) -> bool:
    channels = max((t.numel() for t in activation.tensors.values()), default=1)
    ends = (
        torch.tensor([[-FAR], [FAR]]).expand(2, channels).to(next(iter(activation.tensors.values()), torch.zeros(())))
    )
    return bool((activation.derivative(ends) == 0).any())


def revive_(model: nn.Module, layers: Mapping[str, str], optimizer: Optimizer | None = None) -> None:
    """From now on units that are dead are drawn anew in training, at batch 4, 8, 16, ….

    Parameters
    ----------
    layers:
        Path of each layer → path of the activation that it feeds.
    optimizer:
        Forgets its averages for the weights that are drawn anew.
    """
    for name, activation in layers.items():
        layer, definition = model.get_submodule(name), recognise(model.get_submodule(activation))
        assert isinstance(layer, Weighted), f"{name} is a {type(layer).__name__}"
        assert isinstance(definition, Pointwise), f"{activation} is no pointwise activation"
        watch = _Watch(definition, optimizer)
        layer.register_forward_pre_hook(watch.before)
        layer.register_forward_hook(watch.after)


@dataclass
class _Watch:
    """The units of one layer: which of them had a slope for any sample since the last look."""

    activation: Pointwise
    optimizer: Optimizer | None
    batches: int = 0
    next: int = FIRST
    alive: Tensor | None = field(default=None)

    @torch.no_grad()
    def before(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        """Draws the dead units anew, in time for this batch: so the layers behind see what the new ones give."""
        if not (layer.training and self.batches >= self.next and self.alive is not None):
            return
        dead = ~self.alive
        self.next, self.alive = 2 * self.next, None
        if dead.any():
            self._draw(layer, dead, args[0])

    @torch.no_grad()
    def after(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if layer.training:
            self.batches += 1
            alive = _by_unit(layer, self.activation.derivative(output) != 0).any(1)
            self.alive = alive if self.alive is None else self.alive | alive

    def _draw(self, layer: nn.Module, dead: Tensor, x: Tensor) -> None:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        rows = weight.movedim(1, 0) if getattr(layer, "transposed", False) else weight
        fan_in = math.prod(rows.shape[1:])
        rows[dead] = torch.randn_like(rows[dead]) * (gain(self.activation, "backward") / math.sqrt(fan_in))
        if isinstance(bias, Tensor):
            bias[dead] = 0
            bias[dead] = -_by_unit(layer, layer.forward(x))[dead].median(1).values
        for parameter in (weight, bias):
            for average in self._averages(parameter):
                average[dead] = 0

    def _averages(self, parameter: Any) -> list[Tensor]:
        state = self.optimizer.state.get(parameter, {}) if self.optimizer else {}
        return [v for v in state.values() if isinstance(v, Tensor) and v.shape == parameter.shape]


def _by_unit(layer: nn.Module, output: Tensor) -> Tensor:
    """(units, values): of a linear layer the last dimension, of a convolution the one before those of space."""
    space = len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else 0
    return output.movedim(output.dim() - 1 - space, 0).flatten(1)
