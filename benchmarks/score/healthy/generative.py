"""Models of the data itself: losses without a floor, targets of the model's own making, weights that are masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, digits, fit, mlp, moons
from benchmarks.score.healthy.games import coverage
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn
from torch.nn.utils import parametrizations


@healthy(good=0.7)
def spectral_adversaries() -> Training:
    """A hinge GAN with spectral norm on every layer of the critic, which is watched (Miyato et al. 2018)."""
    made = mlp([8, 64, 64, 2])
    critic = mlp([2, 64, 64, 1], lambda: nn.LeakyReLU(0.1))
    for layer in [m for m in critic if isinstance(m, nn.Linear)]:
        parametrizations.spectral_norm(layer)
    first = torch.optim.Adam(made.parameters(), 1e-3, betas=(0.0, 0.9))
    second = torch.optim.Adam(critic.parameters(), 4e-3, betas=(0.0, 0.9))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        second.zero_grad()
        fake = made(torch.randn(128, 8))
        loss = F.relu(1 - critic(batch[0])).mean() + F.relu(1 + critic(fake.detach())).mean()
        loss.backward()
        second.step()
        first.zero_grad()
        (-critic(fake).mean()).backward()
        first.step()
        return loss.item()

    def metric(_m: nn.Module) -> float:
        with torch.no_grad():
            return coverage(made(torch.randn(1000, 8)))

    return fit(critic, moons(), optimizer=second, loop=step, metric=metric, batch=128, steps=500)


class Noised(nn.Module):
    """Says the noise in x at level σ; what it takes in is divided by the level, so its sizes stay near 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([3, 96, 96, 2], nn.SiLU)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.body(torch.cat([x / (1 + level**2).sqrt(), level.log() / 3], 1))


@healthy(good=0.7)
def score_matching() -> Training:
    """Denoising over noise from 0.01 to 3, the loss of each level divided by its square: sizes over five decades."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        level = 10 ** (torch.rand(len(batch[0]), 1) * 2.5 - 2)
        noise = torch.randn_like(batch[0])
        return ((level * model(batch[0] + level * noise, level) - level * noise) / level).square().sum(1).mean()

    def metric(model: nn.Module) -> float:
        x = 3 * torch.randn(600, 2)
        with torch.no_grad():
            for high, low in torch.logspace(0.5, -2, 40).unfold(0, 2, 1):
                x = x + (low - high) * model(x, high.expand(600, 1))
        return coverage(x)

    return fit(Noised(), moons(), loss=loss, metric=metric, batch=256, lr=2e-3, steps=500)


@healthy(good=0.7)
def flow_matching() -> Training:
    """The velocity from noise to data on straight lines; the best loss is far from 0 (Lipman et al. 2023)."""
    model = mlp([3, 96, 96, 2], nn.SiLU)

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        noise, time = torch.randn_like(batch[0]), torch.rand(len(batch[0]), 1)
        return F.mse_loss(m(torch.cat([(1 - time) * noise + time * batch[0], time], 1)), batch[0] - noise)

    def metric(m: nn.Module) -> float:
        x = torch.randn(600, 2)
        with torch.no_grad():
            for time in torch.arange(0, 1, 0.05):
                x = x + 0.05 * m(torch.cat([x, time.expand(600, 1)], 1))
        return coverage(x)

    return fit(model, moons(), loss=loss, metric=metric, batch=256, lr=3e-3, steps=500)


class Bottle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp([64, 96, 16], nn.ELU), mlp([8, 96, 64], nn.ELU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        return self.decoder(code), 0.5 * (mean.square() + spread.exp() - spread - 1).sum(1)


@healthy(good=0.4)
def annealed_divergence() -> Training:
    """A VAE whose KL term comes in over half of the run: the loss rises on purpose (Bowman et al. 2016)."""
    data, steps = digits(), iter(range(10**6))

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        out, divergence = m(b[0])
        return (out - b[0]).square().sum(1).mean() + min(1.0, next(steps) / 200) * divergence.mean()

    def explained(m: nn.Module) -> float:
        with torch.no_grad():
            return 1 - F.mse_loss(m(data.x)[0], data.x).item()

    return fit(Bottle(), data, loss=loss, metric=explained, lr=2e-3, steps=400)


@healthy(good=0.6)
def energy_by_contrast() -> Training:
    """An energy that falls at the data and rises where Langevin steps in it end: a loss around nothing."""
    energy = mlp([2, 64, 64, 1], nn.SiLU)
    optimizer = torch.optim.Adam(energy.parameters(), 1e-3)
    kept = torch.randn(256, 2)

    def walked(x: Tensor, steps: int) -> Tensor:
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(energy(x).sum(), x)
            x = x - 0.05 * slope + 0.1 * torch.randn_like(x)
        return x.detach()

    def step(batch: tuple[Tensor, Tensor]) -> float:
        nonlocal kept
        start = torch.where(torch.rand(256, 1) < 0.05, torch.randn(256, 2), kept)
        kept = walked(start, 20)
        real, made = energy(batch[0] + 0.03 * torch.randn_like(batch[0])), energy(kept)
        loss = real.mean() - made.mean() + 0.05 * (real.square() + made.square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return fit(energy, moons(), optimizer=optimizer, loop=step, metric=lambda _m: coverage(kept), batch=256, steps=250)


class Masked(nn.Linear):
    """A linear layer whose every weight from a later pixel is zero, and stays so."""

    mask: Tensor

    def __init__(self, before: Tensor, after: Tensor, strict: bool) -> None:
        super().__init__(len(before), len(after))
        allowed = after[:, None] > before if strict else after[:, None] >= before
        self.register_buffer("mask", allowed.float())

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


@healthy(good=6.0)
def autoregressive_masks() -> Training:
    """MADE on black and white digits: half of all weights never count, some units see nothing. Metric: nats gained."""
    data = digits(scale=False)
    pixels = (data.x > 7).float()
    order, hidden = torch.arange(64), torch.randint(0, 63, (256,))
    model = nn.Sequential(Masked(order, hidden, False), nn.ReLU(), Masked(hidden, order, True))

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(m(b[0]), b[0], reduction="none").sum(1).mean()

    def gained(m: nn.Module) -> float:
        share = pixels.mean(0).clamp(1e-3, 1 - 1e-3)
        alone = F.binary_cross_entropy(share.expand_as(pixels), pixels, reduction="none").sum(1).mean()
        with torch.no_grad():
            return (alone - loss(m, (pixels, pixels))).item()

    return fit(model, Data(pixels, data.y, 10), loss=loss, metric=gained, lr=3e-3, steps=600)
