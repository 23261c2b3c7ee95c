"""The names that a user gave to modules and parameters, without those that wrappers add."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

WRAPPED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Where torch.compile, FSDP1 and the activation checkpoint wrapper keep the user's module; no one else's names."""


def module_names(model: nn.Module) -> dict[str, str]:
    """Per name in `named_modules()`, the same without wrappers: `module.0` of a DistributedDataParallel is `0`."""
    names: dict[str, str] = {"": ""}
    wrapped: dict[str, frozenset[str]] = {}
    for raw, module in model.named_modules(remove_duplicate=False):
        outer, _, last = raw.rpartition(".")
        if raw and last in wrapped[outer]:
            names[raw] = names[outer]
        elif raw:
            names[raw] = f"{names[outer]}.{last}" if names[outer] else last
        wrapped[raw] = _inside(module)
    return names


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """`model.named_parameters()` without the names of wrappers; empty shards of this rank are among them."""
    names = module_names(model)
    for raw, parameter in model.named_parameters():
        outer, _, last = raw.rpartition(".")
        yield (f"{names[outer]}.{last}" if names.get(outer) else last), parameter


def _inside(module: nn.Module) -> frozenset[str]:
    """The attributes under which a wrapper keeps what it wraps."""
    parallel = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    return WRAPPED | {"module"} if parallel else WRAPPED


def own_class(module: nn.Module) -> type:
    """The class that the user wrote or took: fully_shard gives a module a class of its own, derived from it."""
    return next(c for c in type(module).__mro__ if not c.__module__.startswith(("torch.distributed.", "abc")))
