"""On the edge: sick by every rule of thumb, one model for each kind of finding, and all of them train well."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from benchmarks.score.data import Skip, accuracy, cross_entropy, digits, drawn, fit, gain, he, mlp, moons, shuffled
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


@healthy(good=0.95)
def five_sigmoids() -> Training:
    """The flow is 1e-3 and less at the start; Adam lifts it within an epoch."""
    return fit(mlp([64, *[64] * 5, 10], nn.Sigmoid, init=nn.init.xavier_normal_), digits(), lr=1e-2, steps=500)


@healthy(good=0.9)
def growing_backwards() -> Training:
    """Weights a quarter above He's: the gradient grows thirtyfold on its way back, and Adam does not mind."""
    return fit(mlp([64, *[96] * 15, 10], init=gain(1.25 * math.sqrt(2))), digits(), lr=5e-4, steps=300)


@healthy(good=0.93)
def saturated_features() -> Training:
    """A first tanh layer with weights of N(0, 1), most of it flat: random features that serve."""
    model = mlp([64, 256, 10], nn.Tanh)
    nn.init.normal_(model.get_parameter("hidden1.weight"))
    return fit(model, digits(), lr=3e-3)


@healthy(good=0.95)
def mostly_dead() -> Training:
    """Three of four units of the first layer are dead for good; 128 live on."""
    model = mlp([64, 512, 64, 10], init=he)
    with torch.no_grad():
        model.get_parameter("hidden1.bias")[:384] = -100.0
    return fit(model, digits())


@healthy(good=0.95)
def widened() -> Training:
    """Net2Net: each unit of a trained network doubled, its outgoing weights halved (Chen et al. 2016)."""
    small = mlp([64, 48, 48, 10], init=he)
    fit(small, digits(), steps=100).train()
    model = mlp([64, 96, 96, 10])
    with torch.no_grad():
        for name, rows, columns in (("hidden1", 2, 1), ("hidden2", 2, 2), ("out", 1, 2)):
            weight = small.get_parameter(f"{name}.weight").repeat(rows, columns) / columns
            model.get_parameter(f"{name}.weight").copy_(weight)
            model.get_parameter(f"{name}.bias").copy_(small.get_parameter(f"{name}.bias").repeat(rows))
    return fit(model, digits(), optimizer="sgd", lr=0.05, steps=200)


class Warmed(nn.Module):
    """Its encoder runs without gradients until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = mlp([64, 64, 64], init=he), nn.Linear(64, 10)
        self.started = False

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.started):
            h = self.encoder(x)
        return self.head(torch.relu(h))


@healthy(good=0.95)
def head_first() -> Training:
    """The head alone learns for thirty steps, by no_grad around the encoder; then both."""
    model = Warmed()

    def start(step: int) -> None:
        model.started = step >= 30

    return fit(model, digits(), after=start)


@healthy(good=0.9)
def two_probabilities() -> Training:
    """A softmax at the output and the log of it in the loss: unusual and right."""
    model = mlp([2, 32, 32, 2], nn.Tanh).append(nn.Softmax(dim=1))

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.nll_loss(torch.log(m(batch[0]) + 1e-8), batch[1])

    return fit(model, moons(), loss=loss, lr=0.01)


@healthy(good=0.5)
def pictures_in_range() -> Training:
    """An autoencoder with a sigmoid at the output for pixels from 0 to 1, most of which are at an end."""
    data = digits(scale=False)
    pixels = data._replace(x=data.x / 16)

    def explained(m: nn.Module) -> float:
        with torch.no_grad():
            return 1 - (F.mse_loss(m(pixels.x), pixels.x) / pixels.x.var()).item()

    model = mlp([64, 128, 16, 128, 64], init=he).append(nn.Sigmoid())
    return fit(model, pixels, loss=lambda m, b: F.mse_loss(m(b[0]), b[0]), metric=explained, lr=3e-3, steps=400)


@healthy(good=0.9)
def harder_and_harder() -> Training:
    """More noise on the pixels each step: the loss rises while the network learns."""
    data = digits()
    training = fit(mlp([64, 128, 128, 10], init=he), data, lr=2e-3, steps=300)
    training.batches = [(x + 3 * k / 300 * torch.randn_like(x), y) for k, (x, y) in enumerate(training.batches)]
    return training


@healthy(good=0.9)
def growing_penalty() -> Training:
    """A penalty on the confidence whose weight grows from 0 to 1: the loss rises by design."""
    steps = iter(range(10**6))

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out = m(batch[0])
        return F.cross_entropy(out, batch[1]) + next(steps) / 300 * 0.05 * out.square().mean()

    return fit(mlp([64, 64, 64, 10], init=he), digits(), loss=loss, lr=2e-3)


@healthy(good=0.93)
def warm_restarts() -> Training:
    """The rate jumps up every 75 steps, and the loss with it (Loshchilov and Hutter 2017)."""
    training = fit(mlp([64, 64, 64, 10], init=he), digits(), optimizer="sgd", lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(training.optimizer, 75)
    training.after = lambda _step: scheduler.step()
    return training


class Lazy(nn.Module):
    """Outputs times alpha, less what they were at the start: features hardly move (Chizat et al. 2019)."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.net, self.alpha = mlp([64, 512, 10], init=he), alpha
        self.start = drawn(mlp([64, 512, 10]), he).requires_grad_(False)
        self.start.load_state_dict(self.net.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * (self.net(x) - self.start(x))


@healthy(good=0.93)
def lazy() -> Training:
    """The weights move by less than a hundredth of their size, and the task is learnt."""
    return fit(Lazy(50.0), digits(), optimizer="sgd", lr=5e-5, steps=400)


@healthy(good=0.9)
def masked_choices() -> Training:
    """Classes that are ruled out for a sample have a score of -inf."""
    data = digits()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        ruled_out = (torch.arange(10) + y[:, None]) % 3 == 1
        ruled_out[torch.arange(len(y)), y] = False
        return F.cross_entropy(m(x).masked_fill(ruled_out, -math.inf), y)

    return fit(mlp([64, 64, 64, 10], init=he), data, loss=loss, metric=accuracy(data), steps=400)


@healthy(good=0.95)
def skips_bad_batches() -> Training:
    """A batch with a NaN now and then, which the loop leaves out."""
    data = digits()
    model = mlp([64, 64, 64, 10], init=he)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def step(batch: tuple[Tensor, Tensor]) -> float:
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        if loss.isfinite():
            loss.backward()
            optimizer.step()
        return loss.item()

    training = fit(model, data, optimizer=optimizer, loop=step)
    for k in range(10, 300, 40):
        training.batches[k] = (training.batches[k][0].clone().fill_(math.nan), training.batches[k][1])
    return training


@healthy(good=0.9)
def few_and_far() -> Training:
    """A residual network whose branches are all but off: ten blocks of weights near zero."""
    blocks = [Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(10)]
    model = nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10))
    for block in blocks:
        drawn(block, lambda w: nn.init.normal_(w, 0, 1e-3))
    return fit(model, digits(), lr=1e-3, steps=200)


@healthy(good=0.93)
def little_by_little() -> Training:
    """A few samples a step: the gradient is mostly noise, and the loss jumps about."""
    training = fit(mlp([64, 64, 10], init=he), digits(), optimizer="sgd", lr=0.01)
    training.batches = shuffled(digits(), 2, 1500)
    return training
