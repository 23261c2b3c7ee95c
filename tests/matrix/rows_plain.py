"""Rows 1 to 8: chains, recurrent nets and convolutional nets written out by hand."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from rows import Setting, classifying, counting, row
from torch import Tensor, nn


def mlp(act: type[nn.Module], depth: int, width: int = 32, norm: bool = False, gain: float | None = None) -> nn.Module:
    """16 inputs, 4 classes; `gain` draws the weights from N(0, gain² / fan_in)."""
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(16 if i == 0 else width, width), *([nn.BatchNorm1d(width)] if norm else []), act()]
    model = nn.Sequential(*parts, nn.Linear(width, 4))
    for layer in model:
        if gain is not None and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, gain / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
    return model


@row(1, "MLP, 20 sigmoid layers", activations={"sigmoid": 20}, findings={"vanishing": "0 (linear)"})
def deep_sigmoid() -> Setting:
    model = mlp(nn.Sigmoid, 20)
    return classifying(model, (32, 16), optimizer=torch.optim.SGD(model.parameters(), 0.1))


BAD = 4.0
"""Times the variance of He: the gradient doubles in each layer."""


@row(2, "MLP, ReLU, weights too large", activations={"relu": 10}, findings={"exploding": "0 (linear)"}, fast=True)
def bad_initial_weights() -> Setting:
    model = mlp(nn.ReLU, 10, gain=math.sqrt(2 * BAD))
    return classifying(model, (32, 16), optimizer=torch.optim.SGD(model.parameters(), 1e-7))


@row(3, "the same with BatchNorm", activations={"relu": 10})
def batch_norm_mends_it() -> Setting:
    model = mlp(nn.ReLU, 10, norm=True, gain=math.sqrt(2 * BAD))
    return classifying(model, (32, 16), optimizer=torch.optim.SGD(model.parameters(), 0.05))


class Characters(nn.Module):
    """Predicts the next character."""

    def __init__(self, kind: type[nn.RNNBase], size: int = 27, width: int = 24, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, width)
        self.rnn = kind(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(tokens))[0])


def predicting(model: nn.Module, size: int, shape: tuple[int, int], steps: int = 12) -> Setting:
    """Next-token prediction of sequences that count."""
    batches = counting(size, *shape, steps)

    def loss(k: int) -> Tensor:
        tokens = batches[k]
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    return Setting(model, torch.optim.AdamW(model.parameters(), 3e-3), loss, steps)


@row(4, "LSTM, characters", not_observed=["fused LSTM"], fast=True)
def lstm() -> Setting:
    return predicting(Characters(nn.LSTM), 27, (8, 20))


@row(5, "GRU, long sequence", not_observed=["fused GRU"])
def gru() -> Setting:
    return predicting(Characters(nn.GRU), 27, (4, 200))


@row(5, "RNN tanh, long sequence", not_observed=["fused RNN"])
def rnn_tanh() -> Setting:
    return predicting(Characters(nn.RNN), 27, (4, 200))


class Functional(nn.Module):
    """Every activation is a call."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3)
        self.three, self.four, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        self.five, self.six = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.one(x)), 2)
        x = torch.relu_(self.two(x)).mean((2, 3)).repeat(1, 4)
        x = self.three(x).clamp(min=0)
        h = self.four(x)
        x = h * torch.sigmoid(h)
        h = self.five(x)
        x = F.sigmoid(1.702 * h) * h
        return self.head(self.six(x).tanh())


@row(
    6,
    "CNN with F.relu and its like, written by hand",
    activations={"relu": 3, "swish": 1, "quick_gelu": 1, "tanh": 1},
    fast=True,
)
def functional_cnn() -> Setting:
    return classifying(Functional(), (16, 2, 12, 12))


class Basic(nn.Module):
    """torchvision's BasicBlock: one in-place ReLU used twice, and `+=`."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """torchvision's, an eighth as wide."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        widths, blocks = [width, width, 2 * width, 4 * width, 8 * width], []
        for i in range(4):
            blocks += [Basic(widths[i], widths[i + 1], 1 if i == 0 else 2), Basic(widths[i + 1], widths[i + 1], 1)]
        self.layers, self.fc = nn.Sequential(*blocks), nn.Linear(8 * width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layers(x).mean((2, 3)))


@row(7, "ResNet-18 with in-place ReLU and `+=`", activations={"relu": 17}, fast=True)
def resnet18() -> Setting:
    return classifying(ResNet18(), (8, 3, 32, 32))


class Dense(nn.Module):
    """torchvision's _DenseLayer."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseNet(nn.Module):
    """Two blocks and a transition; `blocks` layers each."""

    def __init__(self, blocks: int = 6, growth: int = 4, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
        self.first = nn.ModuleList(Dense(width + i * growth, growth) for i in range(blocks))
        width += blocks * growth
        self.transition = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(True), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)
        )
        width //= 2
        self.second = nn.ModuleList(Dense(width + i * growth, growth) for i in range(blocks))
        width += blocks * growth
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in (self.first, self.second):
            features = [x]
            for layer in block:
                features.append(layer(features))
            x = torch.cat(features, 1)
            if block is self.first:
                x = self.transition(x)
        return self.head(F.relu(self.norm(x), inplace=True).mean((2, 3)))


@row(8, "DenseNet, 27 in-place ReLUs", activations={"relu": 27})
def densenet() -> Setting:
    return classifying(DenseNet(), (8, 3, 32, 32))
