"""Runs that are sound until some step, and what happens to them then: a fault, and its benign twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START = 200
"""The step with which each fault begins."""


@dataclass
class Loop:
    """A small classifier in an ordinary loop; what a fault changes is here."""

    act: type[nn.Module] = nn.ReLU
    optimizer_class: type[torch.optim.Optimizer] = torch.optim.SGD
    lr: float = 0.05
    seed: int = 0
    scale: float = 1.0
    """Of the inputs."""
    labels: Callable[[Tensor], Tensor] = lambda y: y
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    skips: Callable[[int], bool] = lambda step: False
    model: nn.Sequential = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        sizes = (16, 48, 48, 48)
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), self.act())]
        self.model = nn.Sequential(*layers, nn.Linear(48, 4))
        for layer in self.linear:
            nn.init.normal_(layer.weight, 0, math.sqrt((2 if self.act is nn.ReLU else 1) / layer.in_features))
            nn.init.zeros_(layer.bias)
        self.teacher = torch.randn(16, 4)
        self.optimizer = self.optimizer_class(self.model.parameters(), lr=self.lr)  # type: ignore[call-arg]

    @property
    def linear(self) -> list[nn.Linear]:
        return [m for m in self.model if isinstance(m, nn.Linear)]

    def step(self, number: int) -> float:
        x = torch.randn(128, 16)
        target = self.labels((x @ self.teacher).argmax(1))
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x * self.scale), target)
        loss.backward()
        if not self.skips(number):
            self.optimizer.step()
        return loss.item()

    def rate(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    @torch.no_grad()
    def multiply(self, layer: int, factor: float) -> None:
        self.linear[layer].weight.mul_(factor)


Change = Callable[[Loop, int], object]
"""What a case does before each step from `START` on, the step counted from there."""


@dataclass(frozen=True)
class Late:
    """A fault, and the twin about which nothing is to be said."""

    fault: Change
    twin: Change
    expect: frozenset[str]
    make: Callable[[], Loop]


CASES: dict[str, Late] = {}


def late(expect: str, twin: Change, make: Callable[[], Loop] = Loop) -> Callable[[Change], Change]:
    def enter(fault: Change) -> Change:
        CASES[fault.__name__] = Late(fault, twin, frozenset(expect.split("|")), make)
        return fault

    return enter


def once(change: Callable[[Loop], object]) -> Change:
    """The change of the first step alone."""
    return lambda loop, step: change(loop) if step == 0 else None


def tanh() -> Loop:
    return Loop(nn.Tanh, torch.optim.Adam, 3e-3)


@late("unstable_lr|exploding|nonfinite|dead", twin=once(lambda loop: loop.rate(0.15)))
def rate_jumps(loop: Loop, step: int) -> None:
    """The rate grows a thousandfold; twin: threefold."""
    loop.rate(50.0)


@late("unstable_lr|saturated|dead", twin=once(lambda loop: loop.rate(0.01)), make=tanh)
def rate_of_adam_jumps(loop: Loop, step: int) -> None:
    """A thousandfold; twin: threefold."""
    loop.rate(3.0)


@late("dead|unstable_lr", twin=lambda loop, step: loop.rate(0.2 if step < 3 else 0.05))
def spike_kills(loop: Loop, step: int) -> None:
    """Three steps at 5 kill the units, and it goes on at 0.05; twin: three steps at 0.2."""
    loop.rate(5.0 if step < 3 else 0.05)


@late("exploding|unstable_lr|nonfinite", twin=lambda loop, step: [loop.multiply(i, 0.998) for i in range(3)])
def weights_grow(loop: Loop, step: int) -> None:
    """Every weight grows by a fifth in each step; twin: weight decay."""
    for layer in range(4):
        loop.multiply(layer, 1.2)


@late("vanishing|dead", twin=once(lambda loop: loop.multiply(2, 0.5)))
def weights_shrink(loop: Loop, step: int) -> None:
    """All weights shrink by a half in each step; twin: those of a layer, once."""
    for layer in range(4):
        loop.multiply(layer, 0.5)


def sparser(loop: Loop, step: int) -> None:
    if step == 0:
        with torch.no_grad():
            loop.linear[1].bias.sub_(0.5)


@late("dead", twin=sparser)
def units_die(loop: Loop, step: int) -> None:
    """A layer's biases become -100; twin: half a unit lower."""
    if step == 0:
        nn.init.constant_(loop.linear[1].bias, -100.0)


def skipped(loop: Loop, step: int) -> None:
    loop.scale = math.inf if step == 5 else 1.0
    loop.skips = lambda number: step == 5


@late("nonfinite", twin=skipped)
def weight_is_nan(loop: Loop, step: int) -> None:
    """One weight becomes NaN; twin: one bad batch, whose step is left out."""
    if step == 0:
        with torch.no_grad():
            loop.linear[1].weight[0, 0] = math.nan


def louder(loop: Loop, step: int) -> None:
    loop.scale = 1.5


@late("saturated|unstable_lr|exploding", twin=louder, make=tanh)
def inputs_grow(loop: Loop, step: int) -> None:
    """Inputs three hundred times as large, for tanh; twin: half as large again."""
    loop.scale = 300.0


@late("unstable_lr|exploding|dead|nonfinite", twin=louder)
def inputs_grow_for_relu(loop: Loop, step: int) -> None:
    """The same for ReLU."""
    loop.scale = 300.0


def sharper(loop: Loop, step: int) -> None:
    if step == 0:
        loop.multiply(1, 2.0)


@late("saturated", twin=sharper, make=tanh)
def weights_saturate(loop: Loop, step: int) -> None:
    """Three layers of tanh get weights a hundred times as large; twin: one of them twice."""
    for layer in range(3 if step == 0 else 0):
        loop.multiply(layer, 100.0)


def masked(loop: Loop, step: int) -> None:
    loop.loss = (lambda out, y: 0.0 * out.sum()) if step % 3 == 0 else F.cross_entropy


@late("loss_mismatch", twin=masked)
def loss_is_constant(loop: Loop, step: int) -> None:
    """The loss is 1 whatever the output; twin: one batch of three counts for nothing, as one that is masked."""
    loop.loss = lambda out, y: 1.0 + 0.0 * out.sum()


def another_task(loop: Loop, step: int) -> None:
    loop.labels = lambda y: (y + 1) % 4


@late("loss_mismatch|saturated|vanishing", twin=another_task, make=tanh)
def output_is_clamped(loop: Loop, step: int) -> None:
    """Logits are clamped to where none lies, and send nothing back; twin: the labels change their meaning."""
    loop.loss = lambda out, y: F.cross_entropy((out + 50).clamp(-1, 1), y)


def freeze(loop: Loop, step: int) -> None:
    if step == 0:
        loop.linear[1].requires_grad_(False)


@late("disconnected", twin=freeze)
def layer_is_cut_off(loop: Loop, step: int) -> None:
    """What a layer gives is detached from now on; twin: it is frozen on purpose."""
    if step == 0:
        loop.linear[1].register_forward_hook(lambda module, args, output: output.detach())
