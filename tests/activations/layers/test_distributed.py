"""Lean layers on two processes: DDP and FSDP2 over gloo, the plain pair's parameters after training to the last bit."""

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import undertow as ut

STEPS = 3


def make():
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(2)]
    return nn.Sequential(nn.Linear(6, 8), *blocks, nn.GELU(), nn.Linear(8, 4))


def activated():
    """The same network of activated layers."""
    plain = make()
    blocks = [nn.Sequential(b[0], ut.nn.ActivatedLinear.from_linear(b[1], b[2])) for b in plain[1:3]]
    return nn.Sequential(plain[0], *blocks, ut.nn.ActivatedLinear.from_linear(plain[3], plain[4]))


def lean():
    model = make()
    ut.lean(model)
    return model


def sharded(model):
    mesh = init_device_mesh("cpu", (2,))
    for block in model[1:3]:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def trained(model, rank):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        x = torch.randn(5, 6, generator=torch.Generator().manual_seed(10 * step + rank))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return [getattr(p, "full_tensor", lambda p=p: p)().detach() for p in model.parameters()]


def work(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for wrap in (DistributedDataParallel, sharded):
        plain, *ours = (trained(wrap(build()), rank) for build in (make, activated, lean))
        for other in ours:
            assert len(plain) == len(other), wrap
            assert all(torch.equal(a, b) for a, b in zip(other, plain, strict=True)), wrap
        assert not torch.equal(plain[0], next(make().parameters()))
    dist.destroy_process_group()


def test_trained_on_two_processes():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(work, args=(port,), nprocs=2, start_method="spawn")
