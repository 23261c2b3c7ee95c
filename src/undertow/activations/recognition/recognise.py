"""Which activation is this name, definition, module or function?"""

from __future__ import annotations

from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import nn

from undertow.activations.base import ACTIVATIONS, Activation
from undertow.activations.lookup import activation
from undertow.activations.recognition.calls import recognise_call
from undertow.activations.recognition.graph import of_function
from undertow.activations.recognition.modules import LIBRARIES, of_module


def recognise(thing: object) -> Activation | None:
    """The activation that a name, a definition, a module or a function is; None for anything else.

    Modules: our layers, every activation of torch.nn, Hugging Face transformers and timm, and a subclass of these
    that has no forward of its own.  `nn.Identity` is no activation.

    Functions: torch's (`F.silu`, `torch.sigmoid`, `functools.partial(F.gelu, approximate="tanh")`), timm's, and any
    Python function of one tensor that torch.fx can trace: `lambda x: x * torch.sigmoid(x)` is Swish.
    """
    if isinstance(thing, Activation):
        return thing
    if isinstance(thing, str):
        return activation(thing) if thing in ACTIVATIONS else None
    if isinstance(thing, nn.Module):
        return of_module(thing)
    return _of_function(thing) if callable(thing) and not isinstance(thing, type) else None


def _of_function(function: Any) -> Activation | None:
    whole, args, kwargs = function, (), {}
    if isinstance(function, partial):
        function, args, kwargs = function.func, function.args, function.keywords
    name, home = getattr(function, "__name__", ""), getattr(function, "__module__", None)
    if _of_torch(function):
        return recognise_call(name, (torch.zeros(1, 1), *args), kwargs)
    if home in LIBRARIES:
        name = name.removesuffix("_me")
        return activation(name) if name in ACTIVATIONS else None
    return of_function(whole) if isinstance(function, FunctionType) else None


def _of_torch(function: Any) -> bool:
    home = getattr(function, "__module__", None) or getattr(getattr(function, "__objclass__", None), "__module__", "")
    return home.split(".")[0] == "torch"
