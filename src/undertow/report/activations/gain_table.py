"""Exact gains beside those in wide use, and why these are off."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch

from undertow.activations import Activation, Pointwise, activation, names
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.theory import moments
from undertow.theory.criticality import torch_default
from undertow.theory.gains import Direction, gain

# The standard deviation of f(u), u ~ N(0, 1), from one draw of 1024 × 256 numbers in float32, inverted: `_nonlin_gamma`
# of timm/models/nfnet.py, which copies deepmind-research/nfnets/base.py.
TIMM = {
    "identity": 1.0,
    "celu": 1.270926833152771,
    "elu": 1.2716004848480225,
    "gelu": 1.7015043497085571,
    "leaky_relu": 1.70590341091156,
    "logsigmoid": 1.9193484783172607,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "selu": 1.0008515119552612,
    "sigmoid": 4.803835391998291,
    "swish": 1.7881293296813965,
    "softsign": 2.338853120803833,
    "softplus": 1.9203323125839233,
    "tanh": 1.5939117670059204,
}
DEFAULTS, WIDTHS = ("relu", "tanh", "silu", "gelu", "sigmoid"), (64, 256, 1024)
NOTED = ("relu", "tanh", "sigmoid", "selu", "swish", "gelu")
"""Of which the page says why."""


class Gains(NamedTuple):
    """Of one activation at q = 1; None where there is none."""

    name: str
    forward: float | None
    backward: float | None
    standardised: float | None
    chi_perp: float | None
    """E[f′²]/E[f²]: what the forward gain does to the squared backward value a layer."""
    chi_parallel: float | None
    """dE[f²]/dq / E[f²]: above 1 the variance 1 repels at the forward gain."""
    torch: float | None
    """`torch.nn.init.calculate_gain`."""
    timm: float | None
    """timm's gamma, which is meant to be the standardised gain."""


def gains_of(act: Activation) -> Gains | None:
    """None for an activation that couples elements."""
    if not isinstance(act, Pointwise):
        return None
    m = moments(act)
    kept = 0 < m.E_f2 < math.inf
    return Gains(
        act.name,
        _gain(act, "forward"),
        _gain(act, "backward"),
        _gain(act, "standardised"),
        m.E_df2 / m.E_f2 if kept else None,
        m.dE_f2_dq / m.E_f2 if kept else None,
        _torchs(act.name),
        TIMM.get(act.name),
    )


def table() -> list[Gains]:
    """Of every activation by name, with its default parameters."""
    return [found for name in names() if (found := gains_of(activation(name))) is not None]


def cells(row: Gains) -> list[str]:
    """As text; where a value in use differs from what it stands for, by how much."""
    numbers = ["" if v is None else written(v, 5) for v in row[1:6]]
    return [row.name, *numbers, _beside(row.torch, row.forward), _beside(row.timm, row.standardised)]


def heads() -> list[str]:
    return [say(f"gains.{field}") for field in Gains._fields]


def page() -> str:
    """docs/gains.md: all gains, and what is to be said of those in use."""
    rows = [f"| {' | '.join(line)} |" for line in (heads(), ["---"] * len(Gains._fields), *map(cells, table()))]
    found = {row.name: row for row in table()}
    notes = [f"- {say(f'gains.notes.{name}', **_facts(found[name]))}" for name in NOTED]
    parts = [f"# {say('gains.title')}", say("gains.text"), "\n".join(rows), f"## {say('gains.why')}", "\n".join(notes)]
    return "\n\n".join([*parts, *_default(), say("gains.generated")]) + "\n"


def _default() -> list[str]:
    """What torch's own initialisation does to the backward value, at several widths."""
    head = [
        "| " + " | ".join([say("gains.name"), *(str(n) for n in WIDTHS)]) + " |",
        "| --- " * (1 + len(WIDTHS)) + "|",
    ]
    found = {name: [torch_default(name, n).per_layer for n in WIDTHS] for name in DEFAULTS}
    rows = [f"| {name} | {' | '.join('×' + written(v, 3) for v in values)} |" for name, values in found.items()]
    return [f"## {say('gains.default')}", say("gains.default_text"), "\n".join([*head, *rows])]


def _facts(row: Gains) -> dict[str, str]:
    per_layer = "" if row.chi_perp is None else written(math.sqrt(row.chi_perp), 4)
    values = {field: "" if v is None else written(v, 4) for field, v in zip(Gains._fields[1:], row[1:], strict=True)}
    return {**values, "per_layer": per_layer}


def _gain(act: Pointwise, direction: Direction) -> float | None:
    try:
        return gain(act, direction)
    except ValueError:  # f or f′ has no size there
        return None


def _torchs(name: str) -> float | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(torch.nn.init.calculate_gain({"identity": "linear"}.get(name, name)))  # pyright: ignore
    except ValueError:
        return None


def _beside(used: float | None, exact: float | None) -> str:
    if used is None or exact is None:
        return "" if used is None else written(used, 5)
    off = 100 * (used / exact - 1)
    return written(used, 5) if abs(off) < 1e-4 else f"{written(used, 5)} ({off:+.2f} %)"
