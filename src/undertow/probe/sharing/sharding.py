"""Which ranks train a model together, and which part of each parameter lies on which of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from undertow.record.names import named_parameters


@dataclass(frozen=True)
class Layout:
    """A model on several ranks, as one of them sees it; the same on all but for `rank`."""

    members: tuple[int, ...]
    """The ranks that train it together, numbered as torch.distributed does."""
    rank: int
    """This one's place among them."""
    pieces: Mapping[str, int]
    """Per trained parameter, into how many different parts its values are divided; 1 where each rank holds it whole."""

    @property
    def size(self) -> int:
        return len(self.members)

    @cached_property
    def sharded(self) -> tuple[str, ...]:
        return tuple(name for name, pieces in self.pieces.items() if pieces > 1)

    def share(self, name: str) -> float:
        """What a sum over this parameter's local values counts for, so that over all ranks each value counts once."""
        return self.pieces[name] / self.size


def layout(model: nn.Module, wrapper: nn.Module | None = None) -> Layout | None:
    """How the model lies on the ranks; None where nothing shows that other ranks train the same one.

    Parameters
    ----------
    model:
        Shows it by a wrapper (DDP, FSDP1) or a parameter that is a DTensor (FSDP2, tensor parallel).
    wrapper:
        A DistributedDataParallel around it, where one is known.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
        return None
    groups = {tuple(sorted(ranks)) for ranks in _groups(model, wrapper)}
    if not groups:
        return None
    members = groups.pop() if len(groups) == 1 else tuple(range(dist.get_world_size()))
    if dist.get_rank() not in members or len(members) < 2:
        return None
    flat = {id(p): _flat_pieces(handle) for handle in flat_handles(model) for p in _originals(handle)}
    pieces = {n: flat.get(id(p)) or _pieces(p, len(members)) for n, p in named_parameters(model) if p.requires_grad}
    return Layout(members, members.index(dist.get_rank()), pieces)


def local(tensor: Tensor) -> Tensor:
    """The part of a DTensor that lies on this rank, without communication; any other tensor as it is."""
    return tensor._local_tensor if is_dtensor(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def is_dtensor(tensor: Tensor) -> bool:
    module = sys.modules.get("torch.distributed.tensor")  # while no one has imported it there are none
    return module is not None and isinstance(tensor, module.DTensor)


def reduced_later(model: nn.Module) -> list[Tensor]:
    """The tensors whose gradient is, after accumulation, still this rank's own: those of DDP, the flat ones of FSDP1.

    None where there are DTensors: what they accumulate is reduced already.
    """
    if any(map(is_dtensor, model.parameters())):
        return []
    inside = {id(p) for handle in flat_handles(model) for p in _originals(handle)}
    whole = (p for p in model.parameters() if id(p) not in inside)
    return [p for p in (*flat_parameters(model), *whole) if p.requires_grad]


def flat_parameters(model: nn.Module) -> list[Tensor]:
    """What autograd accumulates into under FSDP1; the parameters that the model names are views of their shards."""
    return [handle.flat_param for handle in flat_handles(model)]


def is_of_fsdp1(parameter: Tensor) -> bool:
    """Whether its data and its gradient are other tensors in the forward pass, the backward pass and the step."""
    return getattr(parameter, "_is_flat_param", False) or getattr(parameter, "_fsdp_flattened", False)


def flat_handles(model: nn.Module) -> Iterator[Any]:
    """FSDP1's handles, each of one flat parameter."""
    return (m._handle for m in _fsdp_modules(model) if m._handle is not None)


def _fsdp_modules(model: nn.Module) -> Iterator[Any]:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # as above
    return (m for m in model.modules() if fsdp is not None and isinstance(m, fsdp.FullyShardedDataParallel))


def _originals(handle: Any) -> list[Tensor]:
    flat = handle.flat_param
    return [flat, *(flat._params or ())]


def _flat_pieces(handle: Any) -> int:
    return handle.process_group.size() if handle.uses_sharded_strategy else 1


def _groups(model: nn.Module, wrapper: nn.Module | None) -> Iterator[list[int]]:
    """The ranks of each process group and device mesh that the model shows."""
    for module in (*model.modules(), *([wrapper] if wrapper else ())):
        if isinstance(module, DistributedDataParallel):
            yield dist.get_process_group_ranks(module.process_group)
    for module in _fsdp_modules(model):
        hybrid = getattr(module, "_inter_node_pg", None) is not None  # its own groups don't name all ranks
        yield dist.get_process_group_ranks(None if hybrid else module.process_group)
    for parameter in model.parameters():
        if is_dtensor(parameter):
            yield parameter.device_mesh.mesh.flatten().tolist()  # pyright: ignore[reportAttributeAccessIssue]


def _pieces(parameter: Tensor, ranks: int) -> int:
    if is_dtensor(parameter):
        mesh, placements = parameter.device_mesh, parameter.placements  # pyright: ignore[reportAttributeAccessIssue]
        whole = [placement.is_replicate() or placement.is_partial() for placement in placements]
        return math.prod(mesh.size(d) for d, is_whole in enumerate(whole) if not is_whole)
    # a shard of FSDP1 whose wrapper is outside of the model
    return ranks if is_of_fsdp1(parameter) else 1
