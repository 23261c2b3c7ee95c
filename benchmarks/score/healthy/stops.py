"""The graph cut on purpose: straight-through estimators, targets that must not move, frozen parts."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from benchmarks.score.data import accuracy, cross_entropy, diabetes, digits, fit, he, mlp, r_squared
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


class Sign(nn.Module):
    """sign(x) forwards, hardtanh backwards (Hubara et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        soft = F.hardtanh(x)
        return soft + (torch.sign(x) - soft).detach()


@healthy(good=0.9)
def binary_activations() -> Training:
    """Hidden units of ±1 with a straight-through estimator."""
    return fit(mlp([64, 128, 128, 10], Sign, norm=nn.BatchNorm1d), digits(), steps=400)


class Codebook(nn.Module):
    """The nearest of 64 learnt codes, gradients copied past the choice (van den Oord et al. 2017)."""

    def __init__(self, codes: int = 64, width: int = 8) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp([64, 64, width * 4]), mlp([width * 4, 64, 64])
        self.codes, self.width = nn.Embedding(codes, width), width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x).view(-1, self.width)
        chosen = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commitment = F.mse_loss(chosen, z.detach()) + 0.25 * F.mse_loss(z, chosen.detach())
        through = z + (chosen - z).detach()
        return self.decoder(through.view(len(x), -1)), commitment


@healthy(good=0.2)
def vector_quantised() -> Training:
    """VQ-VAE: two detaches and an argmin; codes that are never chosen have no gradient."""
    data = digits()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out, commitment = model(batch[0])
        return F.mse_loss(out, batch[0]) + commitment

    def explained(model: nn.Module) -> float:
        with torch.no_grad():
            return 1 - F.mse_loss(model(data.x)[0], data.x).item()

    return fit(Codebook(), data, loss=loss, metric=explained, lr=2e-3, steps=500)


class Bootstrap(nn.Module):
    """An online network that predicts what its own slow average says (BYOL, Grill et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.online = mlp([64, 128, 32], norm=nn.BatchNorm1d)
        self.predictor = mlp([32, 64, 32], norm=nn.BatchNorm1d)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        views = [x + 0.3 * torch.randn_like(x) for _ in range(2)]
        said = [F.normalize(self.predictor(self.online(v)), dim=1) for v in views]
        with torch.no_grad():
            wanted = [F.normalize(self.target(v), dim=1) for v in views]
        return 4 - 2 * (said[0] * wanted[1] + said[1] * wanted[0]).sum(1).mean()


def nearest_neighbour(encode: nn.Module) -> float:
    """Share of the digits whose nearest neighbour is of their class."""
    data = digits()
    encode.eval()
    with torch.no_grad():
        z = F.normalize(encode(data.x[:800]), dim=1)
    encode.train()
    near = (z @ z.T - 2 * torch.eye(800)).argmax(1)
    return (data.y[near] == data.y[:800]).float().mean().item()


@healthy(good=0.85)
def bootstrap() -> Training:
    """BYOL: half of the model is a frozen average of the other half."""
    model = Bootstrap()

    def follow(_step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(model.target.parameters(), model.online.parameters(), strict=True):
                slow.lerp_(fast, 0.02)

    return fit(
        model,
        digits(),
        loss=lambda m, b: m(b[0]),
        metric=lambda m: nearest_neighbour(m.get_submodule("online")),
        after=follow,
        steps=200,
    )


class Pair(nn.Module):
    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if not self.training:
            return self.student(x)
        with torch.no_grad():
            soft = (self.teacher(x) / 2).softmax(1)
        return self.student(x), soft


@healthy(good=0.93)
def distillation() -> Training:
    """A trained teacher in the same module, run without gradients, but not frozen."""
    teacher = mlp([64, 128, 10], init=he)
    fit(teacher, digits(), steps=200).train()
    model = Pair(teacher, mlp([64, 32, 10], init=he))

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        said, soft = m(batch[0])
        return F.kl_div((said / 2).log_softmax(1), soft, reduction="batchmean")

    optimizer = torch.optim.Adam(model.student.parameters(), 3e-3)
    return fit(model, digits(), optimizer=optimizer, loss=loss, steps=400)


@healthy(good=0.9)
def probe_on_detached_features() -> Training:
    """An autoencoder with a linear probe on its detached code: the probe must not train the code."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp([64, 64, 24]), mlp([24, 64, 64])
            self.probe = nn.Linear(24, 10)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            code = self.encoder(x)
            said = self.probe(code.detach())
            return (said, self.decoder(code)) if self.training else said

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        said, again = m(batch[0])
        return F.mse_loss(again, batch[0]) + F.cross_entropy(said, batch[1])

    return fit(Model(), digits(), loss=loss, lr=3e-3, steps=500)


@healthy(good=0.95)
def gradual_unfreezing() -> Training:
    """The body is frozen for a hundred steps, then let go."""
    model = mlp([64, 64, 64, 10], init=he)
    body = [p for n, p in model.named_parameters() if not n.startswith("out")]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for p in body:
        p.requires_grad_(False)

    def unfreeze(step: int) -> None:
        if step == 100:
            for p in body:
                p.requires_grad_(True)

    return fit(model, digits(), optimizer=optimizer, after=unfreeze, steps=400)


@healthy(good=0.85)
def group_without_rate() -> Training:
    """The first layer's group has a learning rate of 0 on purpose; random features are enough."""
    model = mlp([64, 256, 10], init=he)
    groups = [
        {"params": model.get_submodule("hidden1").parameters(), "lr": 0.0},
        {"params": model.get_submodule("out").parameters(), "lr": 3e-3},
    ]
    return fit(model, digits(), optimizer=torch.optim.Adam(groups))


@healthy(good=0.95)
def slow_backbone() -> Training:
    """The body moves a thousand times more slowly than the new head."""
    model = mlp([64, 128, 128, 10], init=he)
    fit(model, digits(), steps=150).train()
    nn.init.normal_(model.get_parameter("out.weight"), 0, 0.05)
    body = [p for n, p in model.named_parameters() if not n.startswith("out")]
    groups = [{"params": body, "lr": 1e-5}, {"params": model.get_submodule("out").parameters(), "lr": 1e-2}]
    return fit(model, digits(), optimizer=torch.optim.Adam(groups), steps=200)


class Quantised(nn.Module):
    """Rounded to 6 bits forwards, the identity backwards; the weights of the layer before are rounded too."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)

    @staticmethod
    def rounded(x: Tensor) -> Tensor:
        scale = x.detach().abs().max() / 31
        return x + (torch.round(x / scale) * scale - x).detach()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.rounded(x), self.rounded(self.linear.weight), self.linear.bias)


@healthy(good=0.9)
def quantisation_aware() -> Training:
    """Weights and signals of six bits with straight-through gradients."""
    model = nn.Sequential(Quantised(64, 128), nn.ReLU(), Quantised(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return fit(model, digits(), loss=cross_entropy, metric=accuracy(digits()))


@healthy(good=0.3)
def frozen_random_features() -> Training:
    """Random Fourier features as a buffer, and a linear model on them: a regression."""

    class Features(nn.Module):
        directions: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("directions", torch.randn(10, 200) * 0.2)
            self.out = nn.Linear(400, 1)

        def forward(self, x: Tensor) -> Tensor:
            wave = x @ self.directions
            return self.out(torch.cat([wave.sin(), wave.cos()], 1))

    return fit(Features(), diabetes(), lr=3e-3, steps=200, metric=r_squared(diabetes()))
