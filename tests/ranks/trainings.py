"""Trainings that run on several gloo processes, and the truth on one: the same batch, undivided."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

RATE = 0.1
BATCH, FEATURES, CLASSES = 16, 7, 3
KINDS = ("ddp", "fsdp2", "fsdp1")


class Net(nn.Module):
    """Sizes that no number of ranks divides, a functional activation, and a bias that one rank holds alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, 13), nn.Linear(13, 5)
        self.act, self.last = nn.Tanh(), nn.Linear(5, CLASSES)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.second(self.act(self.first(x))))) * self.scale


def net(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return Net().to(dtype)


def batch(step: int, micro: int = 0) -> tuple[Tensor, Tensor]:
    """The whole batch; each rank takes its rows."""
    generator = torch.Generator().manual_seed(1000 * step + micro)
    x = torch.randn(BATCH, FEATURES, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (BATCH,), generator=generator)


def wrapped(kind: str, model: nn.Module) -> nn.Module:
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in model.children():
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), RATE, momentum=0.9)


def rows(x: Tensor, rank: int, ranks: int) -> Tensor:
    return x.chunk(ranks)[rank]


def train(
    model: nn.Module, optimizer: Any, steps: int, rank: int = 0, ranks: int = 1, passes: int = 1, start: int = 0
) -> list[float]:
    """Losses of this rank's rows."""
    losses = []
    for step in range(start, start + steps):
        optimizer.zero_grad()
        for micro in range(passes):
            x, y = (rows(t, rank, ranks) for t in batch(step, micro))
            last = micro == passes - 1
            with nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():
                loss = F.cross_entropy(model(x), y) / passes
                loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


@dataclass(frozen=True)
class Job:
    """What `on_ranks` gives to each process."""

    rank: int
    ranks: int


def on_ranks(work: Callable[..., Any], *args: Any, ranks: int = 2) -> list[Any]:
    """Runs `work(job, *args)` in that many processes; what each returned."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_process, (ranks, folder, work, args), ranks)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(ranks)]


def _process(rank: int, ranks: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=60))
    try:
        torch.save(work(Job(rank, ranks), *args), Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
