"""Small runs from which each rule builds its sick and its healthy example."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.activations import activation
from undertow.diagnosis.rule import Example
from undertow.diagnosis.run import watch
from undertow.record import Recording


def mlp(
    name: str, *, depth: int, width: int = 32, he: bool = False, gain: float | None = None, bias: float | None = None
) -> nn.Module:
    """A plain chain on 16 inputs and 4 classes; `he` and `gain` set N(0, gain² · (2 or 1) / fan_in) weights."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(16 if i == 0 else width, width), activation(name).layer()]
    model = nn.Sequential(*parts, nn.Linear(width, 4))
    for layer in model:
        if isinstance(layer, nn.Linear):
            if he or gain is not None:
                nn.init.normal_(layer.weight, 0, (gain or 1.0) * math.sqrt((2 if he else 1) / layer.in_features))
                nn.init.zeros_(layer.bias)
            if bias is not None and layer is not model[-1]:
                nn.init.constant_(layer.bias, bias)
    return model


def classify(model: nn.Module, *, inputs: float = 1.0, scale: float = 1.0, lr: float = 0.05, steps: int = 8) -> Example:
    """Gaussian inputs of the given size, labelled by a random linear teacher; the loss times `scale`."""
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(16, 4, generator=generator)
    batches: list[tuple[Tensor, Tensor]] = []
    for _ in range(steps):
        x = torch.randn(64, 16, generator=generator)
        batches.append((x * inputs, (x @ teacher).argmax(1)))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) * scale

    return Example(model, torch.optim.SGD(model.parameters(), lr), loss, batches)


def shifted(model: nn.Module, *, by: float, steps: int = 40) -> Example:
    """The same at a higher rate, with other inputs from the middle on."""
    example = classify(model, lr=0.3, steps=steps)
    example.batches[steps // 2 :] = [(x + by, y) for x, y in example.batches[steps // 2 :]]
    return example


def observed(example: Example) -> Recording:
    """The recording of the example's training, every step measured."""
    with watch(example.model, example.optimizer, budget=None) as run:
        for batch in example.batches:
            example.optimizer.zero_grad()
            loss = example.loss(example.model(batch[0]), batch[1])
            loss.backward()
            example.optimizer.step()
    return run.recording
