"""Parameters that the loss sends no gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from undertow.foundation import Cause, Evidence, Finding, Severity
from undertow.theory.signal import Delta
from undertow.theory.told import finding

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast


def unreached(forecast: Forecast) -> Iterator[Finding]:
    """Parameters that the loss sends no gradient: a warning where they are used and cut off, a note where unused."""
    blueprint = forecast.blueprint
    reached = {name for n, d in zip(blueprint.nodes, _reached(forecast), strict=True) if d for name in n.parameters}
    used = {name for n in blueprint.nodes for name in n.parameters}
    cut = [n for n in blueprint.trained if n in used and n not in reached]
    unused = [n for n in blueprint.trained if n not in used]
    told: tuple[tuple[list[str], Severity, Cause], ...] = ((cut, "warning", "graph"), (unused, "note", "none"))
    for names, severity, cause in told:
        if names:
            evidence = (Evidence("unreached", float(len(names)), None, 0.0, "graph_of_model"),)
            values = {"count": len(names), "of": len(blueprint.trained), "names": _some(names)}
            yield finding("disconnected", severity, cause, names[0], evidence, values)


def _reached(forecast: Forecast) -> list[bool]:
    """Per node, whether a way that passes gradients leads from it to any of the outputs (a loss may take them all)."""
    blueprint, flow = forecast.blueprint, forecast.flow
    found = [index in blueprint.outputs for index in range(len(blueprint.nodes))]
    for index in range(len(blueprint.nodes) - 1, -1, -1):
        node, handed = blueprint.nodes[index], flow.handed[index]
        if not found[index] or not node.inputs:
            continue
        if flow.deltas[index] is None:  # on the way to another output than the first
            inputs = [flow.signals[i] for i in node.inputs]
            shares = node.law.backward(Delta(torch.ones_like(flow.signals[index].square)), flow.signals[index], *inputs)
            handed = tuple(math.nan if share is None else share.rms for share in shares)
        for source, share in zip(node.inputs, handed, strict=True):
            found[source] = found[source] or not math.isnan(share)
    return found


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
