"""Dead and symmetric units."""

from __future__ import annotations

import torch
from benchmarks.score.data import (
    LETTERS,
    Data,
    accuracy,
    cancer,
    diabetes,
    digits,
    drawn,
    fit,
    he,
    images,
    mlp,
    text,
    wine,
)
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


def convnet(planted_bias: float, depth: int = 4) -> nn.Sequential:
    model = nn.Sequential()
    for i in range(1, depth + 1):
        model.add_module(f"conv{i}", nn.Conv2d(1 if i == 1 else 16, 16, 3, padding=1))
        model.add_module(f"act{i}", nn.ReLU())
    model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()))
    model.add_module("out", nn.Linear(64, 10))
    drawn(model, he)
    if planted_bias:
        nn.init.constant_(model.get_parameter("conv2.bias"), planted_bias)
    return model


@faulty("dead", cause="weights", where="conv2", good=0.9)
def one_layer_below_zero(planted: bool) -> Training:
    """The biases of one convolution are -50; sound: 0."""
    return fit(convnet(-50.0 if planted else 0.0), images(), lr=3e-3, steps=120)


@faulty("dead|unstable_lr", cause="learning_rate", good=0.9)
def convolutions_at_one(planted: bool) -> Training:
    """Adam at 0.5 kills a convolutional net in its first steps; sound: 0.003."""
    return fit(convnet(0.0), images(), lr=0.5 if planted else 3e-3, steps=120)


@faulty("dead", cause="activation", good=0.3)
def output_never_negative(planted: bool) -> Training:
    """Targets moved below zero, and a ReLU at the output; sound: no ReLU."""
    data = diabetes()
    data = data._replace(y=data.y - 4)
    model = mlp([10, 64, 1], nn.Tanh)
    return fit(model.append(nn.ReLU()) if planted else model, data, lr=0.01, steps=400)


@faulty("dead", cause="depth|weights", good=0.85)
def narrow_and_deep(planted: bool) -> Training:
    """Four units wide, twenty deep; sound: 64 wide and three deep."""
    sizes = [13, *[4] * 20, 3] if planted else [13, 64, 64, 64, 3]
    return fit(mlp(sizes, init=nn.init.kaiming_uniform_), wine(), lr=3e-3, batch=32, steps=250)


@faulty("dead|saturated", cause="weights", where="hidden1", good=0.9)
def above_six(planted: bool) -> Training:
    """ReLU6 with biases of 60: every unit is past its upper kink; sound: biases of 0."""
    model = mlp([30, 64, 64, 2], nn.ReLU6, init=he)
    if planted:
        for i in (1, 2):
            nn.init.constant_(model.get_parameter(f"hidden{i}.bias"), 60.0)
    return fit(model, cancer(), lr=1e-3, steps=200)


@faulty("dead", cause="input_scale|weights", where="hidden1", good=0.9)
def shifted_inputs(planted: bool) -> Training:
    """Inputs moved by 30, and first weights that are all below zero on average; sound: inputs around zero."""
    data = digits()
    model = mlp([64, 64, 64, 10], init=he)
    with torch.no_grad():
        model.get_parameter("hidden1.weight").sub_(0.1)
    moved = data._replace(x=data.x + (30.0 if planted else 0.0))
    return fit(model, moved, optimizer="sgd", lr=0.05, steps=300)


@faulty("symmetric", cause="weights", where="conv1", good=0.9)
def equal_filters(planted: bool) -> Training:
    """All weights of a convolutional net are 0.01; sound: He."""
    model = convnet(0.0, depth=2)
    if planted:
        drawn(model, lambda w: nn.init.constant_(w, 0.01))
    return fit(model, images(), optimizer="sgd", lr=0.05, momentum=0.9, steps=300)


@faulty("symmetric", cause="weights", where="rnn", good=0.9)
def equal_gates(planted: bool) -> Training:
    """A GRU and its head with all weights 0.1; sound: torch's own."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)
            if planted:
                for p in self.parameters():
                    nn.init.constant_(p, 0.1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    data = digits()
    return fit(Model(), data._replace(x=data.x.view(-1, 8, 8)), lr=5e-3, steps=250)


@faulty("symmetric", cause="weights", where="embed", good=0.22)
def equal_embeddings(planted: bool) -> Training:
    """An embedding and a hidden layer of ones, with Adam; sound: torch's own."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.hidden = nn.Embedding(LETTERS, 24), nn.Linear(24, 64)
            self.out = nn.Linear(64, LETTERS)
            if planted:
                for p in self.parameters():
                    nn.init.ones_(p)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(self.embed(x))))

    whole = text(2)
    data = Data(whole.x[:, 1], whole.y[:, 1], LETTERS)
    return fit(Model(), data, lr=1e-2, steps=400, metric=accuracy(data))


@faulty("symmetric", cause="weights", where="hidden1", good=0.9)
def zeros_with_sigmoids(planted: bool) -> Training:
    """All weights zero with sigmoids: every unit says one half for ever; sound: Xavier."""
    init = nn.init.zeros_ if planted else nn.init.xavier_normal_
    return fit(mlp([64, 64, 64, 10], nn.Sigmoid, init=init), digits(), optimizer="sgd", lr=0.5, steps=800)
