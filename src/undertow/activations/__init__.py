"""Activation functions, each defined once; names, layers and measured traits follow from the definitions."""

from typing import Any

import undertow.activations.functions  # noqa: F401 - reading the families registers their definitions
from undertow.activations.base import ACTIVATIONS as ACTIVATIONS
from undertow.activations.base import Activation as Activation
from undertow.activations.base import Pointwise as Pointwise
from undertow.activations.base import applied as applied
from undertow.activations.custom import Custom as Custom
from undertow.activations.custom import define as define
from undertow.activations.layers import ActivationLayer as ActivationLayer
from undertow.activations.layers import FunnelReLU as FunnelReLU
from undertow.activations.layers import LeanAccount as LeanAccount
from undertow.activations.layers import lean as lean
from undertow.activations.line.inverse import inverse as inverse
from undertow.activations.line.landmarks import Landmarks as Landmarks
from undertow.activations.line.landmarks import landmarks as landmarks
from undertow.activations.lookup import activation as activation
from undertow.activations.lookup import names as names
from undertow.activations.recognition import Swap as Swap
from undertow.activations.recognition import recognise as recognise
from undertow.activations.recognition import recognise_call as recognise_call
from undertow.activations.recognition import recognise_graph as recognise_graph
from undertow.activations.recognition import swap as swap
from undertow.activations.traits import Traits as Traits
from undertow.activations.traits import traits as traits


def __getattr__(name: str) -> Any:
    """`undertow.activations.Swish`: the class of a definition, in whichever family's file it is."""
    for _, (definition, _) in ACTIVATIONS.items():
        if definition.__name__ == name:
            return definition
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(definition.__name__ for _, (definition, _) in ACTIVATIONS.items())})
