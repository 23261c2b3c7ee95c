"""What a model's output goes through before the loss takes it, a softmax or a sigmoid, and what may stand there."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from undertow.cures.cure import Cure
from undertow.cures.surgery.calls import Call, calls
from undertow.cures.surgery.source import Edit, edits_patch
from undertow.cures.training import Training
from undertow.foundation import say
from undertow.record.operations import PLUMBING

OF_TORCH = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
SQUASHING = ("softmax", "log_softmax", "sigmoid")
PASSING = PLUMBING | {"clamp", "clip"}
"""What hands its values on."""
LAYERS = {"": nn.Identity, "sigmoid": nn.Sigmoid, "logsigmoid": nn.LogSigmoid}


@dataclass(frozen=True)
class Exchanged:
    """A call at the output and the function of torch that comes in its place; none where its name is empty."""

    call: Call
    function: str
    axis: int | None = None

    @property
    def layer(self) -> nn.Module:
        if self.function in LAYERS:
            return LAYERS[self.function]()
        return nn.LogSoftmax(self.axis) if self.function == "log_softmax" else nn.Softmax(self.axis)

    def edit(self) -> Edit | None:
        place = self.call.place
        operand = place.operand if place else None
        if place is None or place.node is None or operand is None:
            return None
        if self.axis is not None and (given := _axis_of(place.node)) is not None:
            name = place.source(place.node.func) if isinstance(place.node, ast.Call) else ""
            if self.function == self.call.name:
                return place.edit(given, str(self.axis))
            begin = name.removesuffix(self.call.name)
            return place.edit(place.node, begin + self.function + place.source(place.node)[len(name) :])
        text = place.applied(self.function) if self.function else place.passed()
        return place.edit(place.node, text) if text else None


class OutputChange(Cure):
    """Another function at the output: a subclass names the `exchanged` calls."""

    changes_network = True
    refusal: ClassVar[str]

    @abstractmethod
    def exchanged(self, training: Training) -> Iterator[Exchanged]:
        """What is to be exchanged."""

    def edits(self, training: Training) -> tuple[Edit, ...]:
        return tuple(dict.fromkeys(edit for e in self.exchanged(training) if (edit := e.edit()) is not None))

    def _layers(self, training: Training) -> dict[str, nn.Module]:
        found = {e.call.path: e for e in self.exchanged(training) if e.call.place is None and e.call.path}
        return {path: e.layer for path, e in found.items() if isinstance(e.call.module, OF_TORCH)}

    def applies(self, training: Training) -> str | None:
        possible = self.edits(training) or self._layers(training)
        return None if possible else say(f"cures.refused.{self.refusal}")

    def change(self, training: Training) -> None:
        for path, layer in self._layers(training).items():
            training.model.set_submodule(path, layer)

    def patch(self, training: Training) -> str:
        layers = [f'model.set_submodule("{path}", nn.{layer})' for path, layer in self._layers(training).items()]
        lines = "\n".join(["from torch import nn", "", *layers]) + "\n" if layers else ""
        return edits_patch(self.edits(training)) + lines


def squashed(training: Training, losses: tuple[str, ...]) -> Iterator[tuple[Call, Call]]:
    """The losses of these names and, of each, the softmax or sigmoid whose values it is given as they are."""
    for loss in calls(training):
        if loss.name in losses:
            before = loss.maker(0)
            while before is not None and before.name in PASSING:
                before = before.maker(0)
            if before is not None and before.name in SQUASHING:
                yield loss, before


def axis_of(call: Call) -> int | None:
    """Of a softmax, counted from 0; None where it is not told."""
    given = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    return given % call.output.dim() if isinstance(given, int) and call.output.dim() else None


def _axis_of(node: ast.expr) -> ast.expr | None:
    """The expression that names a softmax's axis."""
    if not isinstance(node, ast.Call):
        return None
    named = [word.value for word in node.keywords if word.arg == "dim"]
    return (named or [a for a in node.args[-1:] if isinstance(a, ast.Constant | ast.UnaryOp)] or [None])[0]
