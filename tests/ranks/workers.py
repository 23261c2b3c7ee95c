"""What one of several processes does; `trainings.on_ranks` runs it."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from trainings import Job, Net, batch, net, optimizer_of, rows, train, wrapped

from undertow.diagnosis import watch
from undertow.probe.sharing.sharding import local
from undertow.record import Recording

STEPS = 4


def weights(model: nn.Module) -> list[Tensor]:
    return [local(p.detach()).clone() for p in model.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def watched(
    job: Job, kind: str, passes: int = 1, budget: float | None = None, steps: int = STEPS
) -> tuple[Recording, bool]:
    """The recording, and whether losses and weights are those of the same training without us, bit for bit."""
    plain = wrapped(kind, net())
    losses = train(plain, optimizer_of(plain), steps, job.rank, job.ranks, passes)
    model = wrapped(kind, net())
    optimizer = optimizer_of(model)
    with watch(model, optimizer, budget=budget) as run:
        unchanged = losses == train(model, optimizer, steps, job.rank, job.ranks, passes)
    return run.recording, unchanged and same(weights(plain), weights(model))


def local_norms(job: Job, passes: int) -> list[float]:
    """By hand: each rank's own gradient at the weights that all have, in the order of the steps."""
    model = net()
    optimizer = optimizer_of(model)
    norms = []
    for step in range(STEPS):
        totals = []
        for rank in range(job.ranks):
            micro = [[rows(t, rank, job.ranks) for t in batch(step, m)] for m in range(passes)]
            loss = sum(F.cross_entropy(model(x), y) for x, y in micro) / passes
            totals.append(torch.autograd.grad(loss, list(model.parameters())))  # type: ignore[arg-type]
        mine = totals[job.rank]
        norms.append(torch.stack([g.norm() for g in mine]).norm().item())
        for p, *found in zip(model.parameters(), *totals, strict=True):
            p.grad = torch.stack(found).mean(0)
        optimizer.step()
    return norms


def faulty(job: Job) -> tuple[Recording, bool, float]:
    """Rank 1 fails inside our code at step 6; nobody waits."""
    plain = wrapped("ddp", net())
    losses = train(plain, optimizer_of(plain), 12, job.rank, job.ranks)
    model = wrapped("ddp", net())
    optimizer = optimizer_of(model)
    with watch(model, optimizer, budget=None) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        again = train(model, optimizer, 6, job.rank, job.ranks)
        if job.rank == 1:
            run._observer.finished = _fails  # type: ignore[method-assign]
        start = time.perf_counter()
        again += train(model, optimizer, 6, job.rank, job.ranks, start=6)
        took = time.perf_counter() - start
    return run.recording, losses == again and same(weights(plain), weights(model)), took


def _fails(*_args: Any) -> None:
    raise OSError("a planted fault")


def one_watches(job: Job, kind: str) -> tuple[Recording | None, float]:
    """Only rank 0 is watched, as after `if rank == 0:`."""
    model = wrapped(kind, net())
    optimizer = optimizer_of(model)
    start = time.perf_counter()
    if job.rank:
        train(model, optimizer, STEPS, job.rank, job.ranks)
        return None, 0.0
    with watch(model, optimizer, budget=None) as run:
        train(model, optimizer, STEPS, job.rank, job.ranks)
    return run.recording, time.perf_counter() - start


def one_stops(job: Job) -> tuple[Recording, float]:
    """Rank 1 closes after three steps; both train on."""
    model = wrapped("fsdp2", net())
    optimizer = optimizer_of(model)
    run = watch(model, optimizer, budget=None)
    train(model, optimizer, 3, job.rank, job.ranks)
    if job.rank == 1:
        run.close()
    start = time.perf_counter()
    train(model, optimizer, 5, job.rank, job.ranks, start=3)
    took = time.perf_counter() - start
    run.close()
    return run.recording, took


def inner(job: Job) -> tuple[Recording, list[int]]:
    """The model inside DDP is watched, and the user makes groups of their own before and after."""
    early = dist.new_group()
    model = net()
    wrapper = wrapped("ddp", model)
    optimizer = optimizer_of(model)
    with watch(model, optimizer, budget=None) as run:
        train(wrapper, optimizer, 3, job.rank, job.ranks)
        late = dist.new_group()
        train(wrapper, optimizer, 2, job.rank, job.ranks, start=3)
    sums = []
    for group in (early, late, None):
        number = torch.tensor([job.rank + 1])
        dist.all_reduce(number, group=group)
        sums.append(int(number))
    return run.recording, sums


def into_file(job: Job, folder: str) -> Recording:
    """Every rank names the same run file."""
    model = wrapped("fsdp2", net())
    optimizer = optimizer_of(model)
    with watch(model, optimizer, budget=None, path=f"{folder}/run.undertow") as run:
        train(model, optimizer, STEPS, job.rank, job.ranks)
    run.recording.sinks.clear()  # a file is not for another process
    return run.recording


class Unused(Net):
    """A frozen layer, and a head that one rank never calls."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.first.requires_grad_(False)
        self.head, self.skip = nn.Linear(5, 3), skip

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.second(self.act(self.first(x))))
        return self.last(hidden) * self.scale + (0 if self.skip else self.head(hidden))


def unused(job: Job) -> Recording:
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(Unused(skip=job.rank == 1).double(), find_unused_parameters=True)
    optimizer = optimizer_of(model)
    with watch(model, optimizer, budget=None) as run:
        train(model, optimizer, STEPS, job.rank, job.ranks)
    return run.recording


def clipped(job: Job, kind: str, budget: float | None) -> tuple[Recording, list[float]]:
    """A loop that clips; the norms that torch gave before clipping."""
    dtype = torch.float32 if kind == "fsdp1" else torch.float64  # its clipping takes no float64
    model = wrapped(kind, net(dtype))
    optimizer = optimizer_of(model)
    norms = []
    with watch(model, optimizer, budget=budget) as run:
        for step in range(12):
            x, y = (rows(t, job.rank, job.ranks) for t in batch(step))
            optimizer.zero_grad()
            F.cross_entropy(model(x.to(dtype)), y).backward()
            if kind == "fsdp1":
                total = model.clip_grad_norm_(0.25)  # type: ignore[operator]
            else:
                total = nn.utils.clip_grad_norm_(model.parameters(), 0.25)
                total = total.full_tensor() if hasattr(total, "full_tensor") else total
            norms.append(float(total))
            optimizer.step()
    return run.recording, norms


def poisoned(job: Job, kind: str) -> tuple[Recording, list[bool]]:
    """Rank 1 receives a NaN at step 14, between the measured steps."""
    model = wrapped(kind, net())
    optimizer = optimizer_of(model)
    observed = []
    with watch(model, optimizer, budget=0.0) as run:
        for step in range(20):
            x, y = (rows(t, job.rank, job.ranks) for t in batch(step))
            if step == 14 and job.rank == 1:
                x = x.clone()
                x[0, 0] = float("nan")
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            observed.append(run._observer._now.deep is not None)
            optimizer.step()
    return run.recording, observed


def tensor_parallel(job: Job) -> tuple[Recording, list[float]]:
    """Two layers split by columns and rows over the ranks: the gradient of the whole weight, and what we read."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 4)).double()
    mesh = init_device_mesh("cpu", (job.ranks,))
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    norms = []
    with watch(model, optimizer, budget=None) as run:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            whole = [p.grad.full_tensor().norm() for p in model.parameters()]  # type: ignore[union-attr]
            norms.append(torch.stack(whole).norm().item())
            optimizer.step()
    return run.recording, norms
