"""How a softmax shares its attention out: which keys a query sees, and how far from even it looks at them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

HIDDEN = -1e4
"""A bias of a score below this hides the key: masks are made of -inf, of the smallest number, or of -1e4 (fp16)."""
LEAST = 1e-140
"""What a Laplace transform has fallen to where it no longer counts; its square is still a float64."""


class Reach(ABC):
    """A_ij, the attention that query i pays to key j where all scores are alike; each row sums to 1.

    `x` of the methods has shape (groups, queries) or (groups, keys); 1 in the place of either where all are alike.
    """

    @property
    @abstractmethod
    def seen(self) -> Tensor:
        """1 / Σ_j A_ij², shape (queries,) or (1,): how many keys a query sees."""

    @abstractmethod
    def by_query(self, x: Tensor) -> Tensor:
        """Σ_j A_ij x_j."""

    @abstractmethod
    def by_key(self, x: Tensor) -> Tensor:
        """Σ_i A_ij x_i."""

    @property
    @abstractmethod
    def common(self) -> float:
        """Σ_j A_ij A_kj, the mean over pairs of queries i ≠ k: what two of them see of the same."""


@dataclass(frozen=True)
class Everywhere(Reach):
    """Each query sees each key."""

    queries: int
    keys: int

    @property
    def seen(self) -> Tensor:
        return torch.tensor([float(self.keys)], dtype=torch.float64)

    def by_query(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def by_key(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) * (self.queries / self.keys)

    @property
    def common(self) -> float:
        return 1 / self.keys


@dataclass(frozen=True)
class Causal(Reach):
    """Each query sees the keys up to its own place."""

    keys: int

    @property
    def seen(self) -> Tensor:
        return torch.arange(1, self.keys + 1, dtype=torch.float64)

    def by_query(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.keys).cumsum(1) / self.seen

    def by_key(self, x: Tensor) -> Tensor:
        return (x / self.seen).flip(1).cumsum(1).flip(1)

    @property
    def common(self) -> float:
        """Σ_{k<i} 1/i over i(i − 1)/2 pairs."""
        n = self.keys
        return float((1 - 1 / self.seen).sum()) / (n * (n - 1) / 2) if n > 1 else 1.0


@dataclass(frozen=True, eq=False)
class Masked(Reach):
    """Any mask or bias of the scores, the mean over samples and heads."""

    even: Tensor
    """A, shape (queries, keys)."""
    seen_keys: Tensor

    @property
    def seen(self) -> Tensor:
        return self.seen_keys

    def by_query(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.even.shape[1]) @ self.even.T

    def by_key(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.even.shape[0]) @ self.even

    @property
    def common(self) -> float:
        n = self.even.shape[0]
        everything, itself = float(self.even.sum(0).square().sum()), float(self.even.square().sum())
        return (everything - itself) / (n * (n - 1)) if n > 1 else 1.0


class Attends(NamedTuple):
    """What scores of queries and keys, and the weights of their softmax, know beside their sizes."""

    queries: int
    keys: int
    alike: float = 0.0
    """Correlation of two queries' scores of the same key; of their backward values, where it stands at those."""
    reach: Reach | None = None
    """None where no key is hidden."""
    variance: float = 0.0
    """After a softmax: of the scores of one query over the keys."""

    @property
    def seeing(self) -> Reach:
        return self.reach or Everywhere(self.queries, self.keys)


def reach_of(mask: Tensor, queries: int, keys: int) -> Reach:
    """What a real mask leaves: True where a key is seen, or numbers that are added to the scores."""
    bias = torch.where(mask, 0.0, -math.inf) if mask.dtype == torch.bool else mask
    bias = bias.detach().double().expand(*mask.shape[:-2], queries, keys).reshape(-1, queries, keys)
    hidden = bias < HIDDEN
    if queries == keys and bool((hidden == hidden.new_ones(queries, keys).triu(1)).all()) and not _uneven(bias, hidden):
        return Causal(keys)
    even = bias.masked_fill(hidden, -math.inf).softmax(-1).nan_to_num(1 / keys)  # a row that sees nothing
    return Masked(even.mean(0), 1 / even.square().sum(-1).mean(0))


def _uneven(bias: Tensor, hidden: Tensor) -> bool:
    return bool(bias.masked_fill(hidden, 0.0).count_nonzero())


def narrower(one: Reach | None, other: Reach | None) -> Reach | None:
    """Of two masks that meet, the narrower: a bias of positions and a causal mask."""
    if one is None or other is None:
        return one or other
    return one if float(one.seen.mean()) <= float(other.seen.mean()) else other


class Shares(NamedTuple):
    """Sums over the n keys of softmax weights a_j of scores that are normal with one variance, each of n's shape."""

    second: Tensor
    """E[Σ a²]: 1/n where the attention is even, 1 where one key has it all."""
    fluctuation: Tensor
    """E[Σ a² (1 − 2a + Σ a²)]: E[Σ δz²] of the scores for independent δa of variance 1."""


def shares(variance: float, n: Tensor) -> Shares:
    """Shares of n keys, n ≥ 1 and not always whole.

    With w = e^z and S = Σ w:  E[w_1^k / S^m] = ∫ t^(m−1)/Γ(m) E[w^k e^(−tw)] E[e^(−tw)]^(n−1) dt, by quadrature.
    Interpolated between counts that are 12 % apart; relative error below 1e-3.
    """
    most = max(float(n.max()), 2.0)
    counts, second, fluctuation = _table(round(min(max(variance, 0.0), 50.0), 4), math.ceil(math.log(most) / 0.12) + 1)
    at = np.log(n.clamp(min=1.0).numpy())
    return Shares(*(torch.from_numpy(np.interp(at, counts, y)) / n for y in (second, fluctuation)))


@lru_cache(maxsize=1024)
def _table(variance: float, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln n, n E[Σ a²] and n E[Σ a² (1 − 2a + Σ a²)] at n = e^0 … e^(0.12 steps)."""
    log_n = 0.12 * np.arange(steps + 1)
    n = np.exp(log_n)
    z = np.arange(-9.0, 9.0, 0.1)
    weight = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    deviation = math.sqrt(variance)
    w = np.exp(deviation * z)
    log_t = np.arange(-log_n[-1] - 9 * deviation - 30, 9 * deviation + 6, 0.15)
    t = np.exp(log_t)
    decay = np.exp(-np.outer(t, w)) * weight
    zeroth, second, third, fourth = (np.maximum(decay @ w**k, LEAST) for k in (0, 2, 3, 4))

    def integral(m: int, moment: np.ndarray, others: np.ndarray) -> np.ndarray:
        return 0.15 / math.gamma(m) * np.exp(m * log_t + np.log(moment) + np.outer(others, np.log(zeroth))).sum(1)

    squares = n * integral(2, second, n - 1)
    cubes = n * integral(3, third, n - 1)
    squared = n * integral(4, fourth, n - 1) + n * (n - 1) * integral(4, second**2, n - 2)
    return log_n, n * squares, n * np.maximum(squares - 2 * cubes + squared, 0.0)
