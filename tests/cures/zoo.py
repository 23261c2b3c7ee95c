"""Models of many kinds, each with a training, on which every cure is applied or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.cures import Training

ZOO: dict[str, Callable[[], Training]] = {}


def kept(make: Callable[[], Training]) -> Callable[[], Training]:
    ZOO[make.__name__] = make
    return make


def trained(model: nn.Module, *shape: int, lr: float = 0.01, **more: Any) -> Training:
    """Six batches of noise with three classes."""
    dtype = next(p.dtype for p in model.parameters())
    g = torch.Generator().manual_seed(1)
    batches = [
        (torch.randn(4, *shape, generator=g, dtype=dtype), torch.randint(3, (4,), generator=g)) for _ in range(30)
    ]
    optimizer = more.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=lr, momentum=0.5)
    return Training(model, optimizer, F.cross_entropy, batches, **more)


def convolutions(n: int) -> nn.Sequential:
    conv, norm, pool = (getattr(nn, f"{kind}{n}d") for kind in ("Conv", "BatchNorm", "AdaptiveAvgPool"))
    return nn.Sequential(
        *(conv(2, 4, 3, padding=1), nn.ReLU(), conv(4, 4, 3, padding=1), norm(4), nn.Sigmoid()),
        *(conv(4, 4, 3, padding=1, groups=4), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 3)),
    )


@kept
def conv1d() -> Training:
    return trained(convolutions(1), 2, 8)


@kept
def conv2d() -> Training:
    return trained(convolutions(2), 2, 6, 6)


@kept
def conv3d() -> Training:
    return trained(convolutions(3), 2, 4, 4, 4)


class Encoder(nn.Module):
    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.body = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, **more), 2, enable_nested_tensor=False
        )
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x).mean(1))


@kept
def transformer() -> Training:
    """Norms behind the sums, ReLU as a function that is an attribute."""
    model = Encoder()
    return trained(model, 5, 8, optimizer=torch.optim.AdamW(model.parameters()))


@kept
def transformer_pre_norm() -> Training:
    return trained(Encoder(norm_first=True, activation=nn.GELU()), 5, 8)


class Blocks(nn.Module):
    """Residual blocks, one with a norm at its head, one with a plain number before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.first = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.second = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x + 0.5 * self.first(x)
        x = torch.relu(self.second(x) + x)
        return self.out(x.mean((2, 3)))


@kept
def residual_convolutions() -> Training:
    return trained(Blocks(), 2, 6, 6)


@kept
def shared() -> Training:
    """One layer and one activation in two places."""
    layer, act = nn.Linear(6, 6), nn.Tanh()
    return trained(nn.Sequential(layer, act, layer, act, nn.Linear(6, 3)), 6)


@kept
def frozen() -> Training:
    body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()).requires_grad_(False)
    head = nn.Linear(8, 3)
    return trained(nn.Sequential(body, head), 6, optimizer=torch.optim.Adam(head.parameters()))


class Words(nn.Module):
    """Tokens in, the same table out."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.up, self.act = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Tanh()
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.up(self.table(x).mean(1))))


@kept
def tied() -> Training:
    model = Words()
    batches = [(torch.randint(20, (4, 5)), torch.randint(20, (4,))) for _ in range(30)]
    return Training(model, torch.optim.Adam(model.parameters()), F.cross_entropy, batches)


@kept
def groups() -> Training:
    """Two rates, a warm-up, clipping."""
    model = nn.Sequential(nn.Linear(6, 8), nn.PReLU(8), nn.Linear(8, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 3))
    sets = [{"params": model[:3].parameters(), "lr": 0.1}, {"params": model[3:].parameters(), "weight_decay": 0.1}]
    optimizer = torch.optim.SGD(sets, lr=0.01)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    return trained(model, 6, optimizer=optimizer, scheduler=scheduler, clip=1.0)


@kept
def double() -> Training:
    return trained(
        nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double(), 6
    )


@kept
def compiled() -> Training:
    model = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3))
    training = trained(model, 6)
    training.model = torch.compile(model)  # pyright: ignore[reportAttributeAccessIssue]
    return training


@kept
def parametrized() -> Training:
    first = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
    return trained(nn.Sequential(first, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)), 6)


class Bare(nn.Module):
    """Weights without a layer, a branch on values."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.up
        return (torch.sigmoid(h) if h.sum() > 0 else torch.tanh(h)) @ self.down


@kept
def bare() -> Training:
    return trained(Bare(), 6)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent, self.out = kind(6, 8, num_layers=2, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.recurrent(x.movedim(1, 0))[0][-1])


@kept
def rnn() -> Training:
    return trained(Recurrent(nn.RNN), 5, 6)


@kept
def lstm() -> Training:
    return trained(Recurrent(nn.LSTM), 5, 6)


class UNet(nn.Module):
    """Down, up and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.act, self.out = nn.LeakyReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(self.act(self.down(x)))
        return self.out(torch.cat([x, up], 1).mean((2, 3)))


@kept
def unet() -> Training:
    return trained(UNet(), 2, 6, 6)


@kept
def bert() -> Training:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = transformers.BertForSequenceClassification(config)
    batches = [{"input_ids": torch.randint(20, (4, 5)), "labels": torch.randint(3, (4,))} for _ in range(30)]
    return Training(model, torch.optim.AdamW(model.parameters()), lambda output, batch: output.loss, batches)
