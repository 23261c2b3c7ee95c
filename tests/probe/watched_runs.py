"""Training runs to compare with and without a watch: each gives its losses and its final weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(F.dropout(F.relu_(self.up(self.norm(x))), 0.1, self.training))
        h += x
        return h


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Dropout(0.3), nn.Linear(16, 3)), (8, 8)),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        (8, 2, 6, 6),
    ),
    "residual": (lambda: nn.Sequential(Block(), Block(), nn.Linear(8, 3)), (8, 8)),
    "transformer": (Encoder, (8, 5, 8)),
    "lstm": (Recurrent, (8, 5, 8)),
}
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
    "adam": lambda model: torch.optim.Adam(model.parameters(), 0.01),
}


@dataclass
class Job:
    """A user's loop, with gradients accumulated over two batches and clipped."""

    name: str
    optimizer_name: str = "sgd"
    steps: int = 20

    def __post_init__(self) -> None:
        torch.manual_seed(5)
        make, self.shape = MODELS[self.name]
        self.model = make()
        self.optimizer = OPTIMIZERS[self.optimizer_name](self.model)
        self.generator = torch.Generator().manual_seed(6)
        self.losses: list[float] = []
        self.final: list[Tensor] = []

    def batch(self) -> tuple[Tensor, Tensor]:
        x = torch.randn(self.shape, generator=self.generator)
        return x, torch.randint(0, 3, self.shape[:1], generator=self.generator)

    def train(self) -> None:
        for _ in range(self.steps):
            self.step()
        self.final = self.state()

    def step(self) -> None:
        self.optimizer.zero_grad()
        for _ in range(2):
            x, target = self.batch()
            loss = F.cross_entropy(self.model(x), target)
            (loss / 2).backward()
            self.losses.append(loss.item())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def state(self) -> list[Tensor]:
        """Weights, buffers and what the optimizer remembers."""
        memory = [v for s in self.optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
        return [t.detach().clone() for t in [*self.model.state_dict().values(), *memory, torch.get_rng_state()]]
