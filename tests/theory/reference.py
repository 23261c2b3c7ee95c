"""The functions that the reference numbers are for: ours by name, and those that only a user would bring."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from undertow.activations import Activation, activation

MOMENTS = json.loads(Path(__file__).with_name("moments.json").read_text())["rows"]
CRITICAL = json.loads(Path(__file__).with_name("critical_points.json").read_text())
OWN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "abs": torch.abs,
    "cos": torch.cos,
    "gaussian": lambda x: torch.exp(-x * x),
    "square": torch.square,
    "asinh": torch.asinh,
    "erf_sqrt2": lambda x: torch.erf(x / math.sqrt(2)),
}
_ROWS = {row["name"]: row for row in MOMENTS}


def function(name: str) -> Activation | Callable[[torch.Tensor], torch.Tensor]:
    row = _ROWS[name]
    return OWN[name] if row["activation"] is None else activation(row["activation"], **row["parameters"])
