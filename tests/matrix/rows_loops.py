"""Rows 19, 20, 25 to 29, 35, 45 and 47: what users do around a model; `tests/probe/test_loops.py` has each stage's
truth."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from rows import Setting, classifying, row, teacher
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

COMPILED = "compiled"


def body(act: type[nn.Module] = nn.ReLU, width: int = 32, out: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, width), act(), nn.Linear(width, width), act(), nn.Linear(width, out))


def noise(k: int, n: int = 32) -> Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(100 + k))


def adversaries() -> tuple[nn.Sequential, nn.Sequential, torch.optim.Optimizer, torch.optim.Optimizer]:
    generator, critic = body(out=16), body(nn.LeakyReLU, out=1)
    steps = [torch.optim.Adam(m.parameters(), 1e-3, betas=(0.5, 0.9)) for m in (generator, critic)]
    return generator, critic, steps[0], steps[1]


def real(k: int) -> Tensor:
    return noise(1000 + k) @ torch.eye(16).roll(1, 0) + 1


@row(19, "GAN, the generator watched", activations={"relu": 2}, fast=True)
def gan_generator() -> Setting:
    generator, critic, first, second = adversaries()

    def loss(k: int) -> Tensor:
        return F.softplus(-critic(generator(noise(k)))).mean()

    def step(k: int) -> Tensor:
        first.zero_grad()
        value = loss(k)
        value.backward()
        first.step()
        second.zero_grad()
        with torch.no_grad():
            fake = generator(noise(k))
        (F.softplus(-critic(real(k))) + F.softplus(critic(fake))).mean().backward()
        second.step()
        return value

    return Setting(generator, first, loss, step=step)


@row(19, "GAN, the discriminator watched", activations={"leaky_relu": 2})
def gan_discriminator() -> Setting:
    generator, critic, first, second = adversaries()

    def loss(k: int) -> Tensor:
        return (F.softplus(-critic(real(k))) + F.softplus(critic(generator(noise(k)).detach()))).mean()

    def step(k: int) -> Tensor:
        second.zero_grad()
        value = loss(k)
        value.backward()
        second.step()
        first.zero_grad()
        F.softplus(-critic(generator(noise(k)))).mean().backward()
        first.step()
        return value

    return Setting(critic, second, loss, step=step)


@row(20, "WGAN-GP, double backward", activations={"leaky_relu": 2})
def wgan_gp() -> Setting:
    generator, critic, _, second = adversaries()

    def loss(k: int) -> Tensor:
        x, fake = real(k), generator(noise(k)).detach()
        mixed = (0.3 * x + 0.7 * fake).requires_grad_()
        value = critic(fake).mean() - critic(x).mean()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        return value + 10 * (slope.norm(dim=1) - 1).square().mean()

    return Setting(critic, second, loss)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Linear(16, 32), nn.Sequential(nn.Linear(32, 32), nn.SiLU()), body()[-1]
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.first(x))
        return self.head(checkpoint(self.inner, h, use_reentrant=self.reentrant))


@row(25, "checkpointing, non-reentrant", activations={"gelu": 1, "swish": 1}, fast=True)
def checkpoint_non_reentrant() -> Setting:
    return classifying(Checkpointed(reentrant=False), (32, 16))


@row(25, "checkpointing, reentrant", activations={"gelu": 1}, not_observed=["checkpoint"], truth=False)
def checkpoint_reentrant() -> Setting:
    return classifying(Checkpointed(reentrant=True), (32, 16))


@row(26, "autocast to bfloat16", activations={"relu": 2}, tolerance=1e-4)
def autocast() -> Setting:
    setting = classifying(body(), (32, 16))
    plain = setting.loss

    def loss(k: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return plain(k)

    setting.loss = loss
    return setting


def scaled(setting: Setting, overflow: int = -1) -> Setting:
    """A loop with a gradient scaler, whose gradient is infinite at one step."""
    scaler, plain = torch.amp.GradScaler("cpu", init_scale=2.0**10), setting.loss
    setting.loss = lambda k: scaler.scale(plain(k)) * (torch.inf if k == overflow else 1)

    def step(k: int) -> Tensor:
        setting.optimizer.zero_grad()
        value = setting.loss(k)
        value.backward()
        scaler.step(setting.optimizer)
        scaler.update()
        return value

    setting.step = step
    return setting


@row(27, "GradScaler", activations={"relu": 2}, parameters=False)
def grad_scaler() -> Setting:
    return scaled(classifying(body(), (32, 16)))


@row(27, "GradScaler, fused Adam, one overflow", activations={"relu": 2}, parameters=False)
def grad_scaler_overflow() -> Setting:
    model = body()
    return scaled(classifying(model, (32, 16), optimizer=torch.optim.Adam(model.parameters(), 3e-3, fused=True)), 5)


@row(28, "accumulation and clipping", activations={"relu": 2}, parameters=False, fast=True)
def accumulation() -> Setting:
    setting = classifying(body(), (32, 16), steps=12)
    plain = setting.loss
    setting.loss = lambda k: plain(k) / 2

    def step(k: int) -> Tensor:
        setting.optimizer.zero_grad()
        value = setting.loss(k)
        value.backward()
        setting.loss((k + 1) % 12).backward()
        nn.utils.clip_grad_norm_(setting.model.parameters(), 0.1)
        setting.optimizer.step()
        return value

    setting.step = step
    return setting


def compiled(backend: str) -> Setting:
    torch.compiler.reset()
    model = torch.compile(body(nn.GELU), backend=backend, fullgraph=True)
    return classifying(model, (32, 16))


@row(29, "torch.compile, aot_eager, fullgraph", activations={"gelu": 2}, not_observed=[COMPILED])
def compiled_aot_eager() -> Setting:
    return compiled("aot_eager")


@row(29, "torch.compile, inductor, fullgraph", activations={"gelu": 2}, not_observed=[COMPILED])
def compiled_inductor() -> Setting:
    return compiled("inductor")


@row(35, "LBFGS", activations={"tanh": 2}, parameters=False)
def lbfgs() -> Setting:
    model = body(nn.Tanh)
    setting = classifying(model, (32, 16), optimizer=torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3))

    def step(k: int) -> Tensor:
        def closure() -> Tensor:
            setting.optimizer.zero_grad()
            value = setting.loss(k)
            value.backward()
            return value

        return torch.as_tensor(setting.optimizer.step(closure)).detach()

    setting.step = step
    return setting


@row(45, "a moving average by deepcopy at each step", activations={"relu": 2})
def moving_average() -> Setting:
    setting = classifying(body(), (32, 16))
    average = copy.deepcopy(setting.model)

    def step(k: int) -> Tensor:
        value = setting.plain(k)
        twin = copy.deepcopy(setting.model)
        F.cross_entropy(twin(noise(k)), torch.zeros(32, dtype=torch.long)).backward()
        with torch.no_grad():
            for a, b in zip(average.parameters(), twin.parameters(), strict=True):
                a.lerp_(b, 0.1)
        return value

    setting.step = step
    return setting


class Quantiles(nn.Module):
    """Three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = body()[:-1], nn.ModuleList(nn.Linear(32, 1) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.body(x)
        return [head(h) for head in self.heads]


@row(47, "heads that the loss never reads", activations={"relu": 2})
def unused_heads() -> Setting:
    model, batches = Quantiles(), teacher((32, 16), 4, 12)

    def loss(k: int) -> Tensor:
        x, target = batches[k]
        error = target[:, None] - model(x)[0]
        return torch.maximum(0.9 * error, -0.1 * error).mean()

    return Setting(model, torch.optim.AdamW(model.parameters(), 3e-3), loss)
