"""Small trainings with a fault in how model, loss and optimizer hang together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wired_modules import Between, chain
from wired_nets import Run, binary, plain, squared


def constant(model: nn.Module, value: float) -> nn.Module:
    for name, p in model.named_parameters():
        nn.init.constant_(p, 0.0 if "bias" in name else value)
    return model


class ByHand(nn.Module):
    """Layers of matrices that the user multiplies with, all their values the same."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.full((16, 32), 0.1)), nn.Parameter(torch.full((32, 4), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.w1) @ self.w2


class Read(nn.Module):
    def __init__(self, cell: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.cell, self.out = cell(4, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x.view(-1, 4, 4))[0][:, -1])


def repeated() -> nn.Module:
    """Eight units and three copies of each, all the way."""
    model = chain(16, 32, 4)
    with torch.no_grad():
        model[0].weight[:], model[0].bias[:] = model[0].weight[:8].repeat(4, 1), model[0].bias[:8].repeat(4)
        model[2].weight[:] = model[2].weight[:, :8].repeat(1, 4)
    return model


def through_numpy(_model: Any, h: Tensor) -> Tensor:
    return torch.from_numpy(h.detach().numpy() * 2)


def through_items(_model: Any, h: Tensor) -> Tensor:
    return torch.tensor([[v.item() for v in row] for row in h[:, :2]]).repeat(1, 16)


def without_gradients(_model: Any, h: Tensor) -> Tensor:
    with torch.no_grad():
        return h * 2


class Anew(nn.Module):
    """A parameter that is made in each forward pass, from what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Linear(16, 4), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        self.scale = nn.Parameter(self.scale.detach() * 1.0)
        return self.first(x) * self.scale


def replaced() -> Run:
    model = chain(16, 32, 32, 4)
    run = plain(model)
    model[-1] = nn.Linear(32, 4)
    return run


def forgotten() -> Run:
    model = chain(16, 32, 32, 32, 4)
    return plain(model, held=[p for i, layer in enumerate(model) if i != 4 for p in layer.parameters()])


FAULTS: dict[str, tuple[Callable[[], Run], str, str]] = {
    "conv_of_zeros": (
        lambda: plain(
            constant(
                nn.Sequential(
                    nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4)
                ),
                0.0,
            )
        ),
        "symmetric",
        "1 (conv2d)",
    ),
    "matrices_by_hand": (lambda: plain(ByHand()), "symmetric", "forward:matmul"),
    "lstm_of_constants": (lambda: plain(constant(Read(), 0.1)), "symmetric", "cell"),
    "copies_of_units": (lambda: plain(repeated()), "symmetric", "0 (linear)"),
    "detach": (lambda: plain(Between(lambda _, h: h.detach())), "disconnected", "first"),
    "data": (lambda: plain(Between(lambda _, h: h.data)), "disconnected", "first"),
    "threshold": (lambda: plain(Between(lambda _, h: (h > 0.1).float())), "disconnected", "first"),
    "where": (lambda: plain(Between(lambda _, h: torch.where(h > 0.1, 1.0, -1.0))), "disconnected", "first"),
    "argmax": (lambda: plain(Between(lambda _, h: F.one_hot(h.argmax(1), 32).float())), "disconnected", "first"),
    "max_indices": (lambda: plain(Between(lambda _, h: F.one_hot(h.max(1)[1], 32).float())), "disconnected", "first"),
    "numpy": (lambda: plain(Between(through_numpy)), "disconnected", "first"),
    "items": (lambda: plain(Between(through_items)), "disconnected", "first"),
    "no_grad": (lambda: plain(Between(without_gradients)), "disconnected", "first"),
    "round": (lambda: plain(Between(lambda _, h: h.round())), "disconnected", "first"),
    "sign": (lambda: plain(Between(lambda _, h: (h - 0.1).sign())), "disconnected", "first"),
    "anew_in_each_step": (lambda: plain(Anew()), "disconnected", "scale"),
    "replaced_after_the_optimizer": (replaced, "disconnected", "4 (linear)"),
    "forgotten_by_the_optimizer": (forgotten, "disconnected", "4 (linear)"),
    "softmax_twice": (lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Softmax(1))), "loss_mismatch", "1 (softmax)"),
    "sigmoid_twice": (
        lambda: plain(
            nn.Sequential(chain(16, 32, 1), nn.Sigmoid()),
            lambda p, y: F.binary_cross_entropy_with_logits(p.squeeze(1), (y > 1).float()),
        ),
        "loss_mismatch",
        "1 (sigmoid)",
    ),
    "cross_entropy_of_one_unit": (
        lambda: plain(chain(16, 32, 1), lambda out, y: F.cross_entropy(out, y * 0)),
        "loss_mismatch",
        "loss",
    ),
    "softmax_of_one_in_the_loss": (
        lambda: plain(chain(16, 32, 1), lambda out, y: binary(out.softmax(1), y)),
        "loss_mismatch",
        "loss",
    ),
    "likelihood_without_a_log": (
        lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Softmax(1)), F.nll_loss),
        "loss_mismatch",
        "1 (softmax)",
    ),
    "softmax_over_the_batch": (
        lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Softmax(0)), squared(0, 1)),
        "loss_mismatch",
        "1 (softmax)",
    ),
    "sigmoid_for_targets_to_a_hundred": (
        lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Sigmoid()), squared(0, 100, 1e-6)),
        "loss_mismatch",
        "1 (sigmoid)",
    ),
    "tanh_for_targets_below_it": (
        lambda: plain(nn.Sequential(chain(16, 32, 4), nn.Tanh()), squared(-5, -4)),
        "loss_mismatch",
        "1 (tanh)",
    ),
}
"""What is planted, the kind that is found, and where."""
