"""Agents in small worlds: the data changes with the model, and the loss is no measure of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, accuracy, fit, mlp, moons
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn

SIDE = 5
MOVES = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])


def moved(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """A room of 5 × 5 whose far corner is the goal; the next states and the rewards."""
    row, column = state // SIDE, state % SIDE
    row = (row + MOVES[action, 0]).clamp(0, SIDE - 1)
    column = (column + MOVES[action, 1]).clamp(0, SIDE - 1)
    after = row * SIDE + column
    return after, (after == SIDE * SIDE - 1).float()


def arrivals(choose: nn.Module, steps: int = 8) -> float:
    """The share of starts from which the greedy agent is at the goal in `steps` moves."""
    state = torch.arange(SIDE * SIDE)
    with torch.no_grad():
        for _ in range(steps):
            state = moved(state, choose(F.one_hot(state, SIDE * SIDE).float()).argmax(1))[0]
    return (state == SIDE * SIDE - 1).float().mean().item()


def steps_only(steps: int) -> dict[str, Any]:
    """The worlds make their own data: a batch is the number of the step."""
    rows = torch.arange(steps)
    return {"data": Data(rows[:, None].float(), rows, 2), "batch": 1, "steps": steps}


@healthy(good=0.9)
def deep_q_network() -> Training:
    """Double DQN: a memory that fills as it plays, an ε that falls, a target network that is copied."""
    size = SIDE * SIDE
    online = mlp([size, 64, 64, 4])
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), 2e-3)
    memory: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    state, played = torch.randint(0, size, (16,)), iter(range(10**6))

    def step(_batch: Any) -> float:
        nonlocal state
        k = next(played)
        with torch.no_grad():
            greedy = online(F.one_hot(state, size).float()).argmax(1)
        action = torch.where(torch.rand(16) < max(0.1, 1 - k / 200), torch.randint(0, 4, (16,)), greedy)
        after, reward = moved(state, action)
        memory.append((state, action, after, reward))
        state = torch.where(reward > 0, torch.randint(0, size, (16,)), after)
        s, a, n, r = (torch.cat(part) for part in zip(*memory[-200:], strict=True))
        rows = torch.randint(0, len(s), (64,))
        s, a, n, r = s[rows], a[rows], F.one_hot(n[rows], size).float(), r[rows]
        with torch.no_grad():
            value = target(n).gather(1, online(n).argmax(1, keepdim=True))[:, 0]
        said = online(F.one_hot(s, size).float()).gather(1, a[:, None])[:, 0]
        loss = F.smooth_l1_loss(said, r + 0.9 * (1 - r) * value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if k % 25 == 24:
            target.load_state_dict(online.state_dict())
        return loss.item()

    return fit(online, optimizer=optimizer, loop=step, metric=arrivals, **steps_only(500))


class ActorAndCritic(nn.Module):
    """A shared trunk with a head of logits and one of value, orthogonal weights, the first head all but zero."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(SIDE * SIDE, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, 4), nn.Linear(64, 1)
        for layer, scale in ((self.trunk[0], 2**0.5), (self.trunk[2], 2**0.5), (self.actor, 0.01), (self.critic, 1.0)):
            nn.init.orthogonal_(layer.get_parameter("weight"), scale)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h)[:, 0]


@healthy(good=0.9)
def proximal_policy() -> Training:
    """PPO: four passes over what was just played, ratios clipped, norms clipped to 0.5 (Schulman et al. 2017)."""
    size, model = SIDE * SIDE, ActorAndCritic()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, eps=1e-5)

    def play() -> tuple[Tensor, ...]:
        state, seen = torch.randint(0, size, (32,)), list[tuple[Tensor, ...]]()
        with torch.no_grad():
            for _ in range(16):
                logits, value = model(F.one_hot(state, size).float())
                chances = torch.distributions.Categorical(logits=logits)
                action = chances.sample()
                after, reward = moved(state, action)
                seen.append((state, action, chances.log_prob(action), value, reward))
                state = torch.where(reward > 0, torch.randint(0, size, (32,)), after)
            returns, later = [], model(F.one_hot(state, size).float())[1]
            for _, _, _, _, reward in reversed(seen):
                later = reward + 0.9 * (1 - reward) * later
                returns.insert(0, later)
        state, action, log, value, _ = (torch.cat(part) for part in zip(*seen, strict=True))
        gained = torch.cat(returns)
        return state, action, log, gained, gained - value

    def step(_batch: Any) -> float:
        played, total = play(), 0.0
        for rows in [part for _ in range(4) for part in torch.randperm(512).split(128)]:
            state, action, log, gained, advantage = (part[rows] for part in played)
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            logits, value = model(F.one_hot(state, size).float())
            chances = torch.distributions.Categorical(logits=logits)
            ratio = (chances.log_prob(action) - log).exp()
            surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            loss = 0.5 * F.mse_loss(value, gained) - surrogate - 0.01 * chances.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += loss.item() / 16
        return total

    greedy = lambda m: arrivals(_first(m))  # noqa: E731
    return fit(model, optimizer=optimizer, loop=step, metric=greedy, **steps_only(20))


def _first(model: nn.Module) -> Any:
    return lambda x: model(x)[0]


@healthy(good=0.8)
def soft_actor_critic() -> Training:
    """SAC on a one-step world: two critics, slow copies of both, a temperature that is learnt, three optimizers."""
    model = nn.ModuleDict({"actor": mlp([2, 64, 2]), "first": mlp([3, 64, 1]), "second": mlp([3, 64, 1])})
    slow = copy.deepcopy(model)
    temperature = torch.zeros((), requires_grad=True)
    critics = [*model["first"].parameters(), *model["second"].parameters()]
    parts = [torch.optim.Adam(p, 3e-3) for p in (critics, model["actor"].parameters(), [temperature])]

    def drawn(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = model["actor"](x).chunk(2, 1)
        normal = torch.distributions.Normal(mean, spread.clamp(-5, 2).exp())
        raw = normal.rsample()
        return raw.tanh(), (normal.log_prob(raw) - torch.log(1 - raw.tanh().square() + 1e-6)).sum(1)

    def reward(x: Tensor, action: Tensor) -> Tensor:
        return 1 - (action[:, 0] - 0.7 * torch.sin(2 * x[:, 0])).square()

    def step(_batch: Any) -> float:
        x = torch.randn(64, 2)
        with torch.no_grad():
            action = drawn(x)[0]
        pair = torch.cat([x, action], 1)
        found = sum(F.mse_loss(model[n](pair)[:, 0], reward(x, action)) for n in ("first", "second"))
        acting, log = drawn(x)
        pair = torch.cat([x, acting], 1)
        worth = torch.minimum(model["first"](pair), model["second"](pair))[:, 0]
        wanted = (temperature.exp().detach() * log - worth).mean()
        heat = -(temperature * (log.detach() - 1.0)).mean()
        for optimizer, loss in zip(parts, (found, wanted, heat), strict=True):
            optimizer.zero_grad()
            loss.backward(inputs=[p for g in optimizer.param_groups for p in g["params"]])  # type: ignore[union-attr]
        for optimizer in parts:
            optimizer.step()
        with torch.no_grad():
            for s, p in zip(slow.parameters(), model.parameters(), strict=True):
                s.lerp_(p, 0.01)
        return float(wanted)

    def metric(_m: nn.Module) -> float:
        x = torch.linspace(-2, 2, 400)[:, None].repeat(1, 2)
        with torch.no_grad():
            return reward(x, model["actor"](x)[:, :1].tanh()).mean().item()

    return fit(model, optimizer=parts[0], one_optimizer=False, loop=step, metric=metric, **steps_only(400))


@healthy(good=0.9)
def evolution_strategy() -> Training:
    """Gradients guessed from 24 random directions and their opposites; there is no backward pass (Salimans 2017)."""
    model = mlp([2, 16, 2], nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)

    def shifted(weights: list[nn.Parameter], ways: list[Tensor], sign: int) -> None:
        for p, way in zip(weights, ways, strict=True):
            p.add_(way, alpha=sign)

    def step(batch: tuple[Tensor, Tensor]) -> float:
        weights, total = list(model.parameters()), 0.0
        optimizer.zero_grad()
        with torch.no_grad():
            for p in weights:
                p.grad = torch.zeros_like(p)
            for _ in range(24):
                ways = [torch.randn_like(p) * 0.05 for p in weights]
                losses = []
                for sign in (1, -2):
                    shifted(weights, ways, sign)
                    losses.append(F.cross_entropy(model(batch[0]), batch[1]))
                shifted(weights, ways, 1)
                for p, way in zip(weights, ways, strict=True):
                    assert p.grad is not None
                    p.grad += (losses[0] - losses[1]) * way / (2 * 24 * 0.05**2)
                total += losses[0].item() / 24
        optimizer.step()
        return total

    return fit(model, moons(), optimizer=optimizer, loop=step, metric=accuracy(moons()), batch=200, steps=150)
