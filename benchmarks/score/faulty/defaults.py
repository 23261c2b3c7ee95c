"""Faults that nobody plants: defaults that do not scale, a schedule in a wrong unit, an optimizer of something else."""

from __future__ import annotations

import copy

import torch
from benchmarks.score.data import Skip, cancer, digits, fit, gain, he, images, mlp, moons, wine
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


@faulty("vanishing", cause="weights|depth", where="hidden1", good=0.9)
def torch_defaults_tanh(planted: bool) -> Training:
    """Forty tanh layers with torch's default weights, a third of the variance that they need; sound: orthogonal."""
    model = mlp([64, *[64] * 40, 10], nn.Tanh, init=None if planted else nn.init.orthogonal_)
    return fit(model, digits(), optimizer="sgd", lr=0.02, momentum=0.9, steps=200)


@faulty("vanishing", cause="weights|depth", where="hidden1", good=0.9)
def torch_defaults_relu(planted: bool) -> Training:
    """Thirty ReLU layers with torch's default weights, a sixth of He's variance; sound: ten layers with He."""
    if planted:
        return fit(mlp([30, *[64] * 30, 2]), cancer(), lr=3e-4, steps=200)
    return fit(mlp([30, *[64] * 10, 2], init=he), cancer(), lr=3e-4, steps=200)


@faulty("vanishing", cause="weights", good=0.2)
def weak_decoder(planted: bool) -> Training:
    """The decoder's transposed convolutions are of N(0, 0.002²): little reaches the encoder; sound: torch's."""
    encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    up = [nn.ConvTranspose2d(32, 32, 3, 1, 1), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ConvTranspose2d(16, 16, 3, 1, 1)]
    parts = [m for layer in up for m in (layer, nn.ReLU())]
    model = nn.ModuleDict({"encoder": encoder, "decoder": nn.Sequential(*parts, nn.ConvTranspose2d(16, 1, 4, 2, 1))})
    if planted:
        for layer in up:
            nn.init.normal_(layer.weight, 0, 0.002)

    def out(m: nn.Module, x: Tensor) -> Tensor:
        return m.get_submodule("decoder")(m.get_submodule("encoder")(x))

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(out(m, b[0]), b[0])

    def explained(m: nn.Module) -> float:
        with torch.no_grad():
            return 1 - nn.functional.mse_loss(out(m, images().x), images().x).item()

    return fit(model, images(), loss=loss, metric=explained, optimizer="sgd", lr=0.2, momentum=0.9, steps=300)


@faulty("symmetric", cause="weights", good=0.9)
def equal_attention(planted: bool) -> Training:
    """Every matrix of a transformer is 0.02 throughout, its biases 0; sound: torch's own."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)
            self.embed, self.body = nn.Linear(8, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.out = nn.Linear(256, 10)
            if planted:
                for name, p in self.named_parameters():
                    if "norm" not in name:
                        nn.init.constant_(p, 0.0 if name.endswith("bias") else 0.02)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(self.embed(x.view(-1, 8, 8))).flatten(1))

    return fit(Model(), digits(), lr=2e-3, steps=120)


@faulty("too_small_lr", cause="learning_rate", good=0.9)
def decayed_every_step(planted: bool) -> Training:
    """A schedule that was meant for epochs divides the rate by ten at each step; sound: once in a hundred."""
    training = fit(mlp([64, 64, 64, 10], init=he), digits(), optimizer="sgd", lr=0.05, momentum=0.9, steps=300)
    schedule = torch.optim.lr_scheduler.StepLR(training.optimizer, 1 if planted else 100, 0.1)
    training.after = lambda _step: schedule.step()
    return training


@faulty("too_small_lr", cause="learning_rate", good=0.9)
def endless_warm_up(planted: bool) -> Training:
    """A linear warm-up over ten million steps, of which the run has three hundred; sound: over fifty."""
    training = fit(mlp([64, 64, 64, 10], init=he), digits(), lr=1e-3, steps=300)
    length = 10_000_000 if planted else 50
    schedule = torch.optim.lr_scheduler.LambdaLR(training.optimizer, lambda k: min(1.0, (k + 1) / length))
    training.after = lambda _step: schedule.step()
    return training


@faulty("too_small_lr", cause="learning_rate", good=0.9)
def large_epsilon(planted: bool) -> Training:
    """Adam with an epsilon of 100 beside gradients of a thousandth; sound: 1e-8."""
    return fit(mlp([13, 64, 3], nn.Tanh), wine(), lr=1e-2, eps=100.0 if planted else 1e-8, batch=32, steps=200)


@faulty("disconnected|too_small_lr", cause="graph|learning_rate", good=0.9)
def optimizer_of_another(planted: bool) -> Training:
    """The model is copied after its optimizer was made: every weight has a gradient, and none is stepped."""
    model = mlp([64, 64, 64, 10], init=he)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return fit(copy.deepcopy(model) if planted else model, digits(), optimizer=optimizer, steps=200)


@faulty("vanishing|dead|symmetric|saturated|unstable_lr", cause="weights|learning_rate", good=0.9)
def decayed_to_nothing(planted: bool) -> Training:
    """SGD with a weight decay of 1: eight layers shrink by a tenth a step, until nothing passes; sound: 1e-4."""
    model, decay = mlp([64, *[64] * 8, 10], nn.Tanh, init=nn.init.xavier_normal_), 1.0 if planted else 1e-4
    return fit(model, digits(), optimizer="sgd", lr=0.1, weight_decay=decay, steps=300)


@faulty("saturated", cause="input_scale", where="hidden1", good=0.93)
def one_loud_column(planted: bool) -> Training:
    """One of thirty standardised measures is left in its own unit, in the thousands; sound: all are scaled."""
    data = cancer()
    x = data.x.clone()
    if planted:
        x[:, 3] = cancer(scale=False).x[:, 3] * 10
    return fit(mlp([30, 48, 48, 2], nn.Tanh), data._replace(x=x), optimizer="sgd", lr=0.02, steps=300)


@faulty("exploding|nonfinite|unstable_lr", cause="activation", good=0.9)
def cubes(planted: bool) -> Training:
    """x³ as an activation, five times; sound: tanh."""

    class Cube(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**3

    model = mlp([2, *[32] * 5, 2], Cube if planted else nn.Tanh, init=gain(1.5))
    return fit(model, moons(), optimizer="sgd", lr=0.05, momentum=0.9, steps=400)


@faulty("exploding", cause="depth|weights", good=0.75)
def summed_neighbours(planted: bool) -> Training:
    """Eight graph layers that add up some forty neighbours each; sound: three that take their mean."""
    data = moons()
    near = (torch.cdist(data.x, data.x) < 0.25).float()
    mix = near if planted else near / near.sum(1, keepdim=True)

    class Layer(nn.Module):
        def __init__(self, fan_in: int) -> None:
            super().__init__()
            self.linear = nn.Linear(fan_in, 32)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.linear(mix @ x))

    layers = [Layer(2 if i == 0 else 32) for i in range(8 if planted else 3)]
    model = nn.Sequential(*layers, nn.Linear(32, 2))
    return fit(model, data, optimizer="sgd", lr=0.1, momentum=0.9, batch=1000, steps=250, metric=_on_all)


def _on_all(model: nn.Module) -> float:
    data = moons()
    with torch.no_grad():
        return (model(data.x).argmax(1) == data.y).float().mean().item()


@faulty("exploding", cause="depth", where="0", good=0.9)
def added_without_norm(planted: bool) -> Training:
    """Forty residual blocks of two He layers each; sound: LayerNorm in the branch."""
    body = [nn.Identity() if planted else nn.LayerNorm(64) for _ in range(40)]
    blocks = [Skip(norm, nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for norm in body]
    for layer in [m for block in blocks for m in block.modules() if isinstance(m, nn.Linear)]:
        he(layer.weight)
    model = nn.Sequential(
        nn.Linear(64, 64), *blocks, nn.LayerNorm(64) if not planted else nn.Identity(), nn.Linear(64, 10)
    )
    return fit(model, digits(), optimizer="sgd", lr=0.01, momentum=0.9, steps=150)
