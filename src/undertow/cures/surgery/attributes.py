"""Activations that a module holds as a plain function: `self.activation = F.relu`, as torch's transformer layers do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from undertow.activations import Activation, recognise

FAST = {nn.ReLU: 1, nn.GELU: 2}
"""What `activation_relu_or_gelu` says to the fused path of torch's transformer layers, which looks at nothing else."""


def held(model: nn.Module) -> Iterator[tuple[str, Activation]]:
    """Path of the attribute and what the function is, for each function that is an activation."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if callable(value) and not isinstance(value, nn.Module) and (found := recognise(value)) is not None:
                yield f"{path}.{name}".lstrip("."), found


def put(model: nn.Module, path: str, layer: nn.Module) -> None:
    """The module in place of the function."""
    parent, _, name = path.rpartition(".")
    holder = model.get_submodule(parent)
    setattr(holder, name, layer)
    if hasattr(holder, "activation_relu_or_gelu"):
        vars(holder)["activation_relu_or_gelu"] = FAST.get(type(layer), 0)


def put_lines(model: nn.Module, paths: Iterable[str], layer: nn.Module, written: str) -> list[str]:
    """The same as code, for a layer that is written so."""
    holders: dict[str, list[str]] = {}
    for path in paths:
        parent, _, name = path.rpartition(".")
        holders.setdefault(name, []).append(parent)
    lines: list[str] = []
    for name, parents in holders.items():
        lines += [f"for name in {parents!r}:", f"    model.get_submodule(name).{name} = {written}"]
        if any(hasattr(model.get_submodule(parent), "activation_relu_or_gelu") for parent in parents):
            lines.append(f"    model.get_submodule(name).activation_relu_or_gelu = {FAST.get(type(layer), 0)}")
    return lines
