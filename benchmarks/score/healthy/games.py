"""Two nets against each other, and rewards instead of targets."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from benchmarks.score.data import (
    Data,
    digits,
    fit,
    he,
    mlp,
    moons,
    predict,
)
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


def coverage(points: Tensor) -> float:
    """1 - the mean distance between real points and the nearest made one, in units of the data's spread."""
    real = moons().x
    return 1 - (torch.cdist(real, points).amin(1).mean() / real.std()).item()


def adversaries(watch_critic: bool) -> Training:
    made = mlp([8, 64, 64, 2], lambda: nn.LeakyReLU(0.2))
    critic = mlp([2, 64, 64, 1], lambda: nn.LeakyReLU(0.2))
    first = torch.optim.Adam(made.parameters(), 1e-3, betas=(0.5, 0.99))
    second = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.99))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        second.zero_grad()
        fake = made(torch.randn(128, 8)).detach()
        (F.softplus(-critic(batch[0])).mean() + F.softplus(critic(fake)).mean()).backward()
        second.step()
        first.zero_grad()
        loss = F.softplus(-critic(made(torch.randn(128, 8)))).mean()
        loss.backward()
        first.step()
        return loss.item()

    def metric(_m: nn.Module) -> float:
        with torch.no_grad():
            return coverage(made(torch.randn(1000, 8)))

    model, optimizer = (critic, second) if watch_critic else (made, first)
    return fit(model, moons(), optimizer=optimizer, loop=step, metric=metric, batch=128, steps=800)


@healthy(good=0.7)
def adversary_generator() -> Training:
    """The generator of a GAN on the moons: its loss falls for a while only, and that is right."""
    return adversaries(watch_critic=False)


@healthy(good=0.7)
def adversary_critic() -> Training:
    """The critic of the same: it must not win."""
    return adversaries(watch_critic=True)


@healthy(good=0.8)
def wasserstein() -> Training:
    """WGAN-GP, the critic watched: five steps to one, a penalty on its gradient, a loss below zero."""
    made = mlp([8, 64, 64, 2], nn.ReLU)
    critic = mlp([2, 64, 64, 1], nn.Tanh)
    first = torch.optim.Adam(made.parameters(), 1e-3, betas=(0.0, 0.9))
    second = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.0, 0.9))

    def step(batch: tuple[Tensor, Tensor]) -> float:
        loss = torch.zeros(())
        for _ in range(3):
            second.zero_grad()
            fake, real = made(torch.randn(64, 8)).detach(), batch[0]
            share = torch.rand(64, 1)
            mixed = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
            loss = critic(fake).mean() - critic(real).mean() + (slope.norm(dim=1) - 1).square().mean()
            loss.backward()
            second.step()
        first.zero_grad()
        (-critic(made(torch.randn(64, 8))).mean()).backward()
        first.step()
        return loss.item()

    def metric(_m: nn.Module) -> float:
        with torch.no_grad():
            return coverage(made(torch.randn(1000, 8)))

    return fit(critic, moons(), optimizer=second, loop=step, metric=metric, steps=300)


@healthy(good=0.8)
def policy_gradient() -> Training:
    """REINFORCE: name the digit, the reward is 1 or 0; the loss is noise around nothing."""
    data = digits()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        chances = torch.distributions.Categorical(logits=model(batch[0]))
        said = chances.sample()
        reward = (said == batch[1]).float()
        return -((reward - reward.mean()) * chances.log_prob(said)).mean()

    return fit(mlp([64, 64, 10], nn.Tanh), data, loss=loss, lr=5e-3, steps=800)


@healthy(good=0.9)
def q_learning() -> Training:
    """A chain of ten states with a reward at its end, a replay table, and a target network that is a copy."""
    online = mlp([10, 32, 2], init=he)
    target = copy.deepcopy(online)
    state = torch.randint(0, 10, (2000,))
    action = torch.randint(0, 2, (2000,))
    after = (state + 2 * action - 1).clamp(0, 9)
    eye, reward = torch.eye(10), (after == 9).float()
    optimizer = torch.optim.Adam(online.parameters(), 3e-3)

    def step(batch: tuple[Tensor, Tensor]) -> float:
        rows = batch[1]
        with torch.no_grad():
            best = reward[rows] + 0.8 * target(eye[after[rows]]).amax(1)
        value = online(eye[state[rows]]).gather(1, action[rows, None])[:, 0]
        loss = F.smooth_l1_loss(value, best)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def copied(k: int) -> None:
        if k % 50 == 49:
            target.load_state_dict(online.state_dict())

    rows = Data(torch.arange(2000)[:, None], torch.arange(2000), 2)
    greedy = lambda _m: (predict(online, eye).argmax(1) == 1).float().mean().item()  # noqa: E731
    return fit(online, rows, optimizer=optimizer, loop=step, after=copied, metric=greedy, steps=800)
