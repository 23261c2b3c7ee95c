"""Images and graphs: other shapes of networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import Skip, digits, fit, he, images, mlp, moons
from benchmarks.score.healthy.structures import explained
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


class Waist(nn.Module):
    """Convolutions down to 2 × 2 and up again, with the halves of each size joined."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 8, 2, 2), nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.down1(x))
        b = torch.relu(self.down2(a))
        c = torch.relu(self.middle(b))
        d = torch.relu(self.up2(torch.cat([b, c], 1)))
        return self.up1(torch.cat([a, d], 1))


@healthy(good=0.5)
def denoising_u_net() -> Training:
    """A U-Net that takes noise off."""
    data = images()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(m(batch[0] + 0.5 * torch.randn_like(batch[0])), batch[0])

    def metric(m: nn.Module) -> float:
        with torch.no_grad():
            return explained(m(data.x), data.x)

    return fit(Waist(), data, loss=loss, metric=metric, lr=3e-3, steps=250)


class Variational(nn.Module):
    def __init__(self, code: int = 8) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp([64, 128, 2 * code], init=he), mlp([code, 128, 64], init=he)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return self.decoder(code), kl


@healthy(good=0.3)
def variational() -> Training:
    """A VAE on raw pixels, summed over them; some of its eight codes are given up."""
    data = digits()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out, kl = m(batch[0])
        return 0.5 * (out - batch[0]).square().sum(1).mean() + kl

    def metric(m: nn.Module) -> float:
        with torch.no_grad():
            return explained(m(data.x)[0], data.x)

    return fit(Variational(), data, loss=loss, metric=metric, lr=2e-3, steps=500)


class Dense(nn.Module):
    """Each layer sees all before it."""

    def __init__(self, depth: int = 6, growth: int = 16) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64 + growth * i, growth) for i in range(depth))
        self.out = nn.Linear(64 + growth * depth, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], 1)
        return self.out(x)


@healthy(good=0.95)
def densely_connected() -> Training:
    """Joined, not added."""
    return fit(Dense(), digits())


class Squeeze(nn.Module):
    """Channels weighed by a sigmoid of their own mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.net(x.mean((2, 3)))[:, :, None, None]


@healthy(good=0.93)
def depthwise() -> Training:
    """MobileNet's blocks: depthwise convolutions, squeeze and excitation, ReLU6, GroupNorm."""

    def block() -> nn.Module:
        wide = [nn.Conv2d(16, 48, 1), nn.GroupNorm(8, 48), nn.ReLU6()]
        deep = [nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.GroupNorm(8, 48), nn.Hardswish(), Squeeze(48)]
        return Skip(*wide, *deep, nn.Conv2d(48, 16, 1))

    model = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), block(), block(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return fit(model.append(nn.Linear(64, 10)), images(), lr=5e-3, steps=150)


class Mixer(nn.Module):
    def __init__(self, tokens: int = 8, width: int = 32) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.across, self.along = mlp([tokens, 32, tokens], nn.GELU), mlp([width, 64, width], nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.along(self.norms[1](x))


@healthy(good=0.93)
def mixer() -> Training:
    """Two MLPs in turn, one over the tokens and one over the channels."""
    model = nn.Sequential(nn.Unflatten(1, (8, 8)), nn.Linear(8, 32), Mixer(), Mixer(), nn.Flatten(), nn.Linear(256, 10))
    return fit(model, digits(), steps=200)


@healthy(good=0.95)
def post_activation_residual() -> Training:
    """ReLU after the sum: the stream is never negative; BatchNorm in the branch."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))
            self.norm = nn.BatchNorm1d(64)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.norm(self.body(x)))

    return fit(nn.Sequential(nn.Linear(64, 64), *(Block() for _ in range(8)), nn.Linear(64, 10)), digits(), steps=200)


class Graph(nn.Module):
    """Three steps of averaging over the eight nearest neighbours; the labels of ten nodes are known."""

    near: Tensor

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        order = torch.cdist(x, x).topk(8, largest=False).indices
        self.register_buffer("near", torch.zeros(len(x), len(x)).scatter_(1, order, 1 / 8))
        self.layers = nn.ModuleList([nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 2)])

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(self.near @ x)
            if i < 2:
                x = torch.relu(x)
        return x


@healthy(good=0.8)
def graph_network() -> Training:
    """A graph network on the whole data, with a loss on thirty of a thousand nodes."""
    data = moons()
    known = torch.randperm(1000)[:30]

    def loss(m: nn.Module, _batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(m(data.x)[known], data.y[known])

    return fit(Graph(data.x), data, loss=loss, lr=0.01, steps=100, batch=1000)
