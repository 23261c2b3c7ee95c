"""Steps too long or too short, and numbers that are none."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from benchmarks.score.data import cross_entropy, diabetes, digits, fit, he, images, mlp, wine
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn

TOO_LONG = "unstable_lr|exploding|nonfinite|dead|saturated"
"""A rate that is far too large can also kill or flatten units or leave the floats: all are true of the run."""


@faulty(TOO_LONG, cause="learning_rate", good=0.9)
def adam_at_one(planted: bool) -> Training:
    """Adam at 1 on tanh layers; sound: 0.003."""
    return fit(mlp([64, 64, 64, 64, 10], nn.Tanh), digits(), lr=1.0 if planted else 3e-3)


@faulty(TOO_LONG, cause="learning_rate", good=0.9)
def momentum_runs_away(planted: bool) -> Training:
    """SGD at 1 with momentum 0.95, GELU, no norm; sound: 0.01."""
    model = mlp([64, 64, 64, 64, 10], nn.GELU, init=he)
    return fit(model, digits(), optimizer="sgd", lr=1.0 if planted else 0.01, momentum=0.95)


@faulty(TOO_LONG, cause="learning_rate", good=0.3)
def regression_diverges(planted: bool) -> Training:
    """A linear model of the diabetes with SGD just above 2 / curvature; sound: a tenth of it."""
    data = diabetes()
    x = torch.cat([data.x, torch.ones(len(data.x), 1)], 1)
    largest = torch.linalg.eigvalsh(2 * x.T @ x / len(x)).max().item()
    rate = (3.0 if planted else 0.2) / largest
    return fit(nn.Sequential(nn.Linear(10, 1)), data, optimizer="sgd", lr=rate, batch=442, steps=150)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.embed, self.body = nn.Linear(8, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.embed(x.view(-1, 8, 8))).flatten(1))


@faulty(TOO_LONG, cause="learning_rate", good=0.9)
def transformer_too_fast(planted: bool) -> Training:
    """AdamW at 0.3; sound: 0.002."""
    return fit(Small(), digits(), optimizer="adamw", lr=0.3 if planted else 2e-3, steps=120)


@faulty("too_small_lr", cause="learning_rate", good=0.85)
def transformer_too_slow(planted: bool) -> Training:
    """AdamW at 1e-8; sound: 0.002."""
    return fit(Small(), digits(), optimizer="adamw", lr=1e-8 if planted else 2e-3, steps=120)


@faulty("too_small_lr", cause="learning_rate", good=0.9)
def convolutions_too_slow(planted: bool) -> Training:
    """SGD at 1e-7; sound: 0.1."""
    layers = [
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    ]
    return fit(nn.Sequential(*layers), images(), optimizer="sgd", lr=1e-7 if planted else 0.1, momentum=0.9)


@faulty("too_small_lr", cause="learning_rate", good=0.9)
def lost_in_rounding(planted: bool) -> Training:
    """Weights in bfloat16 with updates below half of their last bit; sound: float32."""
    data = digits()
    model = mlp([64, 64, 64, 10], norm=nn.LayerNorm, init=lambda w: nn.init.normal_(w, 0, 4))
    if planted:
        model, data = model.bfloat16(), data._replace(x=data.x.bfloat16())
    return fit(model, data, lr=4e-3, batch=64, steps=900)


@faulty("nonfinite", cause="graph", where="hidden1", good=0.9)
def root_of_zero(planted: bool) -> Training:
    """The root of squares that dropout made 0, where its slope is infinite; sound: + 1e-6."""

    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            h = F.dropout(x, 0.2, self.training)
            return torch.sqrt(h * h + (0.0 if planted else 1e-6))

    model = mlp([64, 64, 64, 10], init=he)
    model.act1 = Root()
    return fit(model, digits(), steps=200)


@faulty("nonfinite", cause="loss|graph", good=0.9)
def log_of_a_probability(planted: bool) -> Training:
    """log(softmax) of scores in the hundreds: a chance rounds to 0, its log to -inf; sound: log_softmax."""
    data = digits()
    model = mlp([64, 64, 10], init=he)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        scores = m(batch[0]) * 40
        logs = scores.softmax(1).log() if planted else (scores / 40).log_softmax(1)
        return F.nll_loss(logs, batch[1])

    return fit(model, data, loss=loss, steps=200)


@faulty("nonfinite", cause="graph|loss", good=0.9)
def masked_rows(planted: bool) -> Training:
    """Attention over rows of ink only: an image's mask may hold nothing, and its softmax is 0 / 0; sound: keep one."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.score, self.out = nn.Linear(8, 32), nn.Linear(32, 1), nn.Linear(288, 10)

        def forward(self, x: Tensor) -> Tensor:
            rows = x.view(-1, 8, 8)
            h = torch.relu(self.embed(rows))
            empty = rows.mean(2) < 0.4
            if not planted:
                empty = empty & (rows.mean(2) < rows.mean(2).amax(1, keepdim=True))
            weights = self.score(h)[:, :, 0].masked_fill(empty, -math.inf).softmax(1)
            return self.out(torch.cat([(weights[:, :, None] * h).sum(1), h.flatten(1)], 1))

    return fit(Masked(), digits(), lr=3e-3, steps=300)


@faulty("nonfinite", cause="input_scale", good=0.9)
def one_bad_row(planted: bool) -> Training:
    """One row of the data holds a NaN; sound: none does."""
    data = wine()
    x = data.x.clone()
    if planted:
        x[100, 3] = math.nan
    return fit(mlp([13, 32, 3], nn.Tanh), data._replace(x=x), lr=5e-3, batch=32, steps=200)


@faulty("nonfinite", cause="graph", good=0.9)
def length_of_nothing(planted: bool) -> Training:
    """Features divided by their length, which is 0 for a blank image; sound: F.normalize."""
    data = digits()
    x = data.x.clone()
    x[::40] = 0.0

    class Unit(nn.Module):
        def forward(self, h: Tensor) -> Tensor:
            return 8 * (h / h.norm(dim=1, keepdim=True) if planted else F.normalize(h, dim=1))

    model = nn.Sequential(Unit(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return fit(model, data._replace(x=x), loss=cross_entropy, lr=3e-3)
