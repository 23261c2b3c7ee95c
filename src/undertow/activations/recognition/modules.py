"""Which activation is this module?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import nn

from undertow.activations.base import ACTIVATIONS, Activation
from undertow.activations.lookup import activation
from undertow.activations.recognition.calls import CALLS
from undertow.foundation.registry import normalised

LIBRARIES = {
    "torch.nn.modules.activation",
    "transformers.activations",
    "timm.layers.activations",
    "timm.layers.activations_me",
}
"""Python modules whose classes and functions are named after the activations that they are."""
_SUFFIXES = "activation", "me"
_CALLS = {normalised(name): name for name in CALLS}


def _clipped_gelu(module: Any) -> Activation | None:
    return activation("gelu_10") if (module.min, module.max) == (-10, 10) else None


def _xielu(module: Any) -> Activation:
    """Its parameters before softplus keeps them positive."""
    positive, negative = F.softplus(module.alpha_p.detach()), F.softplus(module.alpha_n.detach())
    return activation("xielu", alpha_p=float(positive), alpha_n=float(module.beta + negative), beta=float(module.beta))


_BY_HAND: dict[str, Callable[[Any], Activation | None]] = {
    "newgelu": lambda m: activation("gelu_new"),
    "fastgelu": lambda m: activation("gelu_fast"),
    "accurategelu": lambda m: activation("gelu_accurate"),
    "clippedgelu": _clipped_gelu,
    "softmax2d": lambda m: activation("softmax", dim=-3),
    "xielu": _xielu,
}
"""Classes whose name or attributes need a word."""


def of_module(module: nn.Module) -> Activation | None:
    """The activation that a module is: one of our layers, of torch.nn, Hugging Face transformers or timm.

    What counts is where the forward that runs was written, so a subclass without one of its own is recognised.
    """
    forward = type(module).forward
    home = getattr(forward, "__module__", None) or ""
    if home.startswith("undertow."):  # one of our layers carries its definition
        definition = getattr(module, "definition", None)
        return definition if isinstance(definition, Activation) else None
    writer = forward.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return _of_library(writer, module) if home in LIBRARIES else None


def _of_library(class_name: str, module: nn.Module) -> Activation | None:
    name = normalised(class_name)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    if name in _BY_HAND:
        return _BY_HAND[name](module)
    if name in _CALLS:
        call = CALLS[_CALLS[name]]
        return call.rule({p: getattr(module, p) for p in call.parameters if hasattr(module, p)})
    return activation(name) if name in ACTIVATIONS else None
