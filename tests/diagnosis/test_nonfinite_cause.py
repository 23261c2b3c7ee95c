"""What made a value that is not finite: each in a model that trains but for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Finding, watch

Function = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """A layer, a function, a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Linear(6, 8), function, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def masked(h: Tensor) -> Tensor:
    """A row that is all masked."""
    mask = torch.zeros(h.shape, dtype=torch.bool)
    mask[3] = True
    return h * h.masked_fill(mask, -math.inf).softmax(1)


def standardised(h: Tensor) -> Tensor:
    """Over one sample: 0 / 0."""
    one = h[:1]
    return torch.cat([(one - one.mean(0)) / one.std(0, correction=0), h[1:]])


def lengths(h: Tensor) -> Tensor:
    """The norm of a row that is 0 has no derivative that torch would not give; its square root has none."""
    h = h * (torch.arange(len(h)) > 0)[:, None]
    return h * h.square().sum(1, keepdim=True).sqrt()


def found(
    function: Function = torch.relu,
    *,
    inputs: float = 1.0,
    spoil: float | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    lr: float = 0.05,
    autocast: torch.dtype | None = None,
    scale: float = 1.0,
) -> Finding:
    torch.manual_seed(0)
    model = Net(function)
    with torch.no_grad():
        model.first.weight.mul_(scale)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with watch(model, optimizer, budget=None) as run:
        for _ in range(8):
            x = torch.randn(16, 6) * inputs
            if spoil is not None:
                x[2, 3] = spoil
            optimizer.zero_grad()
            with torch.autocast("cpu", autocast, enabled=autocast is not None):
                output = loss(model(x), torch.arange(16) % 3)
            output.backward()
            optimizer.step()
    kept = [f for f in run.diagnose().findings if f.severity != "note"]
    assert len(kept) == 1, kept
    return kept[0]


@pytest.mark.parametrize(
    ("function", "where", "site"),
    [
        (masked, "forward:softmax", "forward:softmax"),
        (standardised, "forward:div", "forward:div"),
        (lengths, "first", "forward:sqrt"),
        (lambda h: torch.where(h > 0, (h * (h > 0)).log(), 0), "first", "forward:log"),
        (lambda h: h.relu().log(), "forward:log", "forward:log"),
        (lambda h: (h * (h > 0)) ** 0.5, "first", "forward:pow"),
        (lambda h: h / h.relu().amin(1, keepdim=True), "forward:div", "forward:div"),
    ],
    ids=["masked", "one sample", "root of 0", "hidden by where", "log of 0", "power", "division"],
)
def test_an_operation_without_a_value_or_a_derivative(function: Function, where: str, site: str) -> None:
    finding = found(function)
    assert (finding.kind, finding.cause, finding.step) == ("nonfinite", "graph", 0)
    assert (finding.where, finding.sites) == (where, (site,))


class Repaired(Net):
    """Takes out of its input what is not finite."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.nan_to_num(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("model", "value"),
    [(lambda: Net(lambda h: h.relu().sqrt()), 0.0), (lambda: Repaired(torch.relu), math.inf)],
    ids=["a slope behind a ReLU", "an input that is repaired"],
)
def test_what_reaches_neither_the_loss_nor_a_weight_is_none(model: Callable[[], Net], value: float) -> None:
    torch.manual_seed(0)
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with watch(net, optimizer, budget=None) as run:
        for _ in range(4):
            x = torch.randn(16, 6)
            x[2, 3] = value
            optimizer.zero_grad()
            F.cross_entropy(net(x), torch.arange(16) % 3).backward()
            optimizer.step()
    assert run.diagnose().findings == ()


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_data(value: float) -> None:
    finding = found(spoil=value)
    assert (finding.kind, finding.cause, finding.where, finding.step) == ("nonfinite", "input_scale", "input", 0)


def test_data_that_are_finite_and_too_large() -> None:
    finding = found(inputs=1e30, scale=1e10)
    assert (finding.kind, finding.cause) == ("nonfinite", "input_scale")


def test_weights_that_are_too_large() -> None:
    finding = found(lambda h: h * 1e25, scale=1e20)
    assert (finding.kind, finding.cause) == ("nonfinite", "weights")


def test_half_precision_overflows_where_single_does_not() -> None:
    finding = found(scale=1e5, autocast=torch.float16)
    assert (finding.kind, finding.cause, finding.where) == ("nonfinite", "weights", "first")


def test_an_activation_that_leaves_its_range() -> None:
    finding = found(lambda h: (h * 40).exp(), scale=20)
    assert (finding.kind, finding.cause) == ("nonfinite", "activation")


def test_the_loss() -> None:
    finding = found(loss=lambda y, t: F.nll_loss((y * 300).softmax(1).log(), t))
    assert (finding.kind, finding.cause) == ("nonfinite", "loss")


def test_steps_that_are_too_long() -> None:
    finding = found(lr=1e6)
    assert (finding.kind, finding.cause) == ("unstable_lr", "learning_rate")
