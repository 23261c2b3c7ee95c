"""Vanishing, exploding and saturated: other architectures, widths, optimizers and data than the public cases."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.score.data import (
    LETTERS,
    Data,
    Skip,
    cancer,
    diabetes,
    digits,
    drawn,
    fit,
    gain,
    he,
    images,
    mlp,
    moons,
    next_letter,
    text,
    wine,
)
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


@faulty("vanishing", cause="activation", where="hidden1", good=0.9)
def hard_sigmoids(planted: bool) -> Training:
    """Fourteen hard sigmoids, whose slope is a sixth; sound: leaky ReLU."""
    act = nn.Hardsigmoid if planted else nn.LeakyReLU
    return fit(mlp([30, *[48] * 14, 2], act, init=he), cancer(), optimizer="rmsprop", lr=3e-4, steps=200)


@faulty("vanishing", cause="weights", where="hidden1", good=0.9)
def weak_gelu(planted: bool) -> Training:
    """Sixteen GELU layers whose weights are a third of He's; sound: He."""
    model = mlp([64, *[96] * 16, 10], nn.GELU, init=gain(0.47 if planted else 1.45))
    return fit(model, digits(), optimizer="adamw", lr=3e-4, steps=200)


@faulty("vanishing", cause="weights", where="0", good=0.9)
def weak_convolutions(planted: bool) -> Training:
    """Ten convolutions with weights of N(0, 0.02²), as generators like them; sound: He."""
    layers: list[nn.Module] = []
    for i in range(10):
        layers += [nn.Conv2d(1 if i == 0 else 8, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10))
    drawn(model, (lambda w: nn.init.normal_(w, 0, 0.02)) if planted else he)
    return fit(model, images(), lr=2e-3, steps=200)


@faulty("vanishing", cause="activation", where="hidden1", good=0.9)
def deep_sigmoids_on_wine(planted: bool) -> Training:
    """Twenty-five sigmoids on the wine, full batches and momentum; sound: SELU."""
    act, init = (nn.Sigmoid, nn.init.xavier_normal_) if planted else (nn.SELU, gain(1.0))
    model = mlp([13, *[32] * 25, 3], act, init=init)
    return fit(model, wine(), optimizer="sgd", lr=0.01, momentum=0.9, batch=178, steps=200)


class Letter(nn.Module):
    """What was the first of `length` letters? Read from the last state."""

    def __init__(self, scale: float, kind: Callable[..., nn.RNNBase] = nn.RNN) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(4, 8), kind(8, 32, batch_first=True), nn.Linear(32, 4)
        for name, p in self.rnn.named_parameters():
            if name.startswith("weight_hh") and scale:
                with torch.no_grad():
                    nn.init.orthogonal_(p).mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.embed(x))[0][:, -1])


def first_of(length: int) -> Data:
    x = torch.randint(0, 4, (1024, length))
    return Data(x, x[:, 0], 4)


@faulty("vanishing", cause="weights", where="rnn", good=0.9)
def forgetful(planted: bool) -> Training:
    """The first of 30 letters with recurrent weights of gain 0.3; sound: gain 1."""
    return fit(Letter(0.3 if planted else 1.0), first_of(30), lr=1e-3, steps=300)


class Cell(nn.Module):
    """A recurrent cell written by hand."""

    def __init__(self, scale: float, length: int = 20) -> None:
        super().__init__()
        self.inp, self.back, self.out = nn.Linear(4, 32), nn.Linear(32, 32, bias=False), nn.Linear(32, 4)
        with torch.no_grad():
            nn.init.orthogonal_(self.back.weight).mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(x, 4).float()
        h = torch.zeros(len(x), 32)
        for t in range(x.shape[1]):
            h = torch.tanh(self.inp(one_hot[:, t]) + self.back(h))
        return self.out(h)


@faulty("vanishing", cause="weights", good=0.9)
def forgetful_by_hand(planted: bool) -> Training:
    """The same with a loop over a cell; where: the recurrent layer, or the one that reads the letters."""
    return fit(Cell(0.3 if planted else 1.0), first_of(25), lr=1e-3, steps=300)


@faulty("exploding|nonfinite", cause="weights", good=0.8)
def remembering_too_much(planted: bool) -> Training:
    """ReLU states with recurrent weights of gain 2.5 through 10 letters; sound: gain 1."""

    class Model(Letter):
        def __init__(self, scale: float) -> None:
            super().__init__(0.0)
            self.rnn = nn.RNN(8, 32, nonlinearity="relu", batch_first=True)
            with torch.no_grad():
                nn.init.eye_(self.rnn.get_parameter("weight_hh_l0")).mul_(scale)

    return fit(Model(2.5 if planted else 1.0), first_of(10), optimizer="adagrad", lr=0.05, steps=1000)


@faulty("exploding", cause="weights", where="hidden1", good=0.9)
def loud_selu(planted: bool) -> Training:
    """Sixteen SELU layers with twice LeCun's weights; sound: LeCun's."""
    model = mlp([30, *[64] * 16, 2], nn.SELU, init=gain(2.2 if planted else 1.0))
    return fit(model, cancer(), optimizer="sgd", lr=0.01, momentum=0.9, steps=200)


class Branches(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.inp = nn.Conv2d(1, 8, 3, padding=1)
        body = [[nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)] for _ in range(20)]
        self.blocks = nn.ModuleList(nn.Sequential(*b) for b in body)
        self.out = nn.Linear(32, 10)
        drawn(self.blocks, he)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.inp(x)
        for block in self.blocks:
            x = x + self.scale * block(x)
        return self.out(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


@faulty("exploding", cause="depth", where="inp", good=0.85)
def residual_convolutions(planted: bool) -> Training:
    """Twenty residual blocks with He weights and no norm; sound: branches times 1/20."""
    return fit(Branches(1.0 if planted else 0.05), images(), optimizer="sgd", lr=0.03, momentum=0.9, steps=150)


@faulty("exploding|saturated", cause="weights", where="hidden1", good=0.5)
def loud_autoencoder(planted: bool) -> Training:
    """Ten linear layers with twice the weights, a regression onto the input; sound: gain 1."""
    model = mlp([64, *[64] * 10, 64], nn.Identity, init=gain(2.0 if planted else 1.0))

    def metric(m: nn.Module) -> float:
        with torch.no_grad():
            error = nn.functional.mse_loss(m(digits().x), digits().x)
        return 1 - error.item() if error.isfinite() else -1.0

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(m(b[0]), b[0])

    return fit(model, digits(), loss=loss, metric=metric, optimizer="sgd", lr=0.03, momentum=0.9, steps=400)


@faulty("saturated", cause="input_scale", where="hidden1", good=0.93)
def raw_measures(planted: bool) -> Training:
    """Measures up to 4,254 into tanh; sound: standardised."""
    model = mlp([30, 32, 32, 2], nn.Tanh, init=nn.init.xavier_normal_)
    return fit(model, cancer(scale=not planted), optimizer="sgd", lr=0.05, steps=250)


@faulty("saturated", cause="input_scale", where="hidden1", good=0.95)
def raw_wine(planted: bool) -> Training:
    """Wine with proline up to 1,680 into sigmoids; sound: standardised."""
    return fit(mlp([13, 48, 3], nn.Sigmoid), wine(scale=not planted), lr=5e-3, batch=32, steps=200)


@faulty("saturated|exploding", cause="weights", where="hidden1", good=0.9)
def loud_hardtanh(planted: bool) -> Training:
    """Five hard tanh layers with weights of N(0, 2²); sound: Xavier."""
    init = (lambda w: nn.init.normal_(w, 0, 2.0)) if planted else nn.init.xavier_normal_
    return fit(mlp([64, *[96] * 5, 10], nn.Hardtanh, init=init), digits(), optimizer="sgd", lr=0.05, steps=250)


class Attention(nn.Module):
    """A digit's rows attend to one another; `scale` multiplies the logits."""

    def __init__(self, scale: float, layers: int = 3, width: int = 32) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(torch.randn(8, width))
        self.heads = nn.ModuleList(nn.ModuleDict({n: nn.Linear(width, width) for n in "qkv"}) for _ in range(layers))
        self.out, self.scale = nn.Linear(width, 10), scale

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place
        for head in self.heads:
            assert isinstance(head, nn.ModuleDict)
            logits = self.scale * head["q"](h) @ head["k"](h).transpose(1, 2)
            h = nn.functional.layer_norm(h + logits.softmax(-1) @ head["v"](h), h.shape[-1:])
        return self.out(h.mean(1))


@faulty("saturated|vanishing", cause="weights", good=0.9)
def one_hot_attention(planted: bool) -> Training:
    """Logits two hundred times as large: queries and keys get no gradient; sound: divided by the root of the width."""
    data = digits()
    data = data._replace(x=data.x.view(-1, 8, 8))
    return fit(Attention(200.0 if planted else 32**-0.5), data, optimizer="sgd", lr=0.1, steps=300)


class Tower(nn.Module):
    """Attention and MLP without skips."""

    def __init__(self, layers: int, skips: bool, width: int = 32) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(LETTERS, width), nn.Parameter(torch.randn(16, width) * 0.1)
        self.q = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.mlps = nn.ModuleList(mlp([width, 64, width], nn.GELU) for _ in range(layers))
        self.out, self.skips = nn.Linear(width, LETTERS), skips

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place
        for qkv, more in zip(self.q, self.mlps, strict=True):
            q, k, v = qkv(nn.functional.layer_norm(h, h.shape[-1:]) if self.skips else h).chunk(3, -1)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + mixed if self.skips else mixed
            h = h + more(h) if self.skips else more(h)
        return self.out(h)


@faulty("vanishing", cause="depth|weights|activation", good=0.2)
def attention_without_skips(planted: bool) -> Training:
    """Ten layers of attention without skips or norms: all tokens become alike, and nothing comes back; sound: both."""
    data = text(16)
    return fit(Tower(10, not planted), data, loss=next_letter, lr=2e-3, batch=32, steps=120)


@faulty("vanishing", cause="weights", where="0", good=0.9)
def weak_residual_in_series(planted: bool) -> Training:
    """Thirty layers after one another between skips of weak layers only; sound: He weights and skips."""
    if planted:
        parts: list[nn.Module] = [m for _ in range(30) for m in (nn.Linear(64, 64), nn.ReLU())]
        model = drawn(nn.Sequential(*parts, nn.Linear(64, 10)), gain(0.7))
    else:
        skips = [Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.ReLU()) for _ in range(30)]
        model = nn.Sequential(*skips, nn.Linear(64, 10))
    return fit(model, digits(), lr=1e-3, steps=150)


@faulty("vanishing|saturated", cause="activation", where="hidden1", good=0.95)
def bell_shaped(planted: bool) -> Training:
    """Twenty layers of exp(-x²), flat where it is near 1 or 0; sound: tanh."""

    class Bell(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(-x.square())

    model = mlp([2, *[24] * (20 if planted else 3), 2], Bell if planted else nn.Tanh, init=nn.init.xavier_normal_)
    return fit(model, moons(), optimizer="sgd", lr=0.1, momentum=0.9, steps=400)


@faulty("exploding|nonfinite|unstable_lr", cause="learning_rate", good=0.3)
def raw_targets_fast(planted: bool) -> Training:
    """Targets from 25 to 346, SGD at 0.1; sound: standardised targets and 0.01."""
    model = mlp([10, 64, 64, 1], init=he)
    return fit(model, diabetes(scale=not planted), optimizer="sgd", lr=0.1 if planted else 0.01, steps=400)
