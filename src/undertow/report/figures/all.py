"""Every figure of the documentation, from measurements made on the spot; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from undertow.foundation import say
from undertow.foundation.outputs import writable_folder
from undertow.probe.graph import sigmoid_chain, tanh_network
from undertow.record import Ledger
from undertow.report.figures.backprop import backprop
from undertow.report.figures.curves import curves
from undertow.report.figures.depth import depth_profile
from undertow.report.figures.forecast import forecast_figure
from undertow.report.figures.phase import phase_diagram
from undertow.report.figures.save import save

_DEPTH, _WIDTH, _INPUTS, _CLASSES, _BATCH = 20, 64, 64, 10, 128
"""The article's network, 20 layers of 64; inputs and classes as in the 8×8 digits."""
_FORECAST, _SEEDS = 256, 3
"""Units of a layer wide enough that theory's interval is narrow, and initialisations measured."""
_SLICE = 8
"""Sites of the real model that its diagram shows, which is four layers."""

_LAYERS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


def write_all(directory: str | Path) -> list[Path]:
    """Write the curves of all activations, the diagrams of backpropagation, depth, phase and forecast as SVG files.

    Raises
    ------
    OutputError
        If the directory cannot be made or a file cannot be written.
    """
    directory = writable_folder(directory)
    return [save(svg, directory / f"{name}.svg") for name, svg in _figures()]


def _figures() -> Iterator[tuple[str, str]]:
    from undertow.activations import names

    for name in names():
        yield f"curves-{name}", curves(name)
    yield "curves-article", curves(["sigmoid", "tanh", "relu", "swish"])
    yield "backprop-chain", backprop(sigmoid_chain(), say("figures.backprop.chain_title"))
    yield "backprop-network", backprop(tanh_network(), say("figures.backprop.network_title"))
    vanishing, exploding = measured("sigmoid"), measured("relu", gain=2 * math.sqrt(2))
    yield "backprop-model", backprop(vanishing, last=_SLICE - 1)
    named = {say("figures.depth.vanishing"): vanishing, say("figures.depth.exploding"): exploding}
    for file, (name, ledger) in zip(("depth-vanishing", "depth-exploding"), named.items(), strict=True):
        yield file, depth_profile({name: ledger})
    yield "depth-both", depth_profile(named, say("figures.depth.both_title"))
    for name in ("tanh", "gelu"):  # one whose critical line attracts, one where it repels at first
        yield f"phase-{name}", phase_diagram(name)
    yield "forecast", _forecast()


def measured(name: str, gain: float | None = None) -> Ledger:
    """The ledger of one batch through 20 layers of 64 units; weights ~ N(0, gain²/64), torch's own without a gain."""
    from undertow.diagnosis import examine

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths = [_INPUTS, *[_WIDTH] * _DEPTH]
        hidden = [layer for i, o in pairwise(widths) for layer in (_linear(i, o, gain), _LAYERS[name]())]
        model = nn.Sequential(*hidden, nn.Linear(_WIDTH, _CLASSES))
        batch = torch.randn(_BATCH, _INPUTS), torch.randint(_CLASSES, (_BATCH,))
        return examine(model, batch, nn.functional.cross_entropy).ledger


def _forecast() -> str:
    """Theory and the median of three measurements, of 20 ReLU layers with He's weights."""
    from undertow.diagnosis import compare
    from undertow.diagnosis import measured as ledger_of
    from undertow.theory import forecast

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        batch = torch.randn(_BATCH, _FORECAST)
        models = [
            nn.Sequential(*[m for _ in range(_DEPTH) for m in (_linear(_FORECAST, _FORECAST, math.sqrt(2)), nn.ReLU())])
            for _ in range(_SEEDS)
        ]
        ledgers = [ledger_of(model, batch, seed) for seed, model in enumerate(models)]
    return forecast_figure(compare([forecast(model, batch) for model in models], ledgers))


def _linear(inputs: int, outputs: int, gain: float | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    if gain is not None:
        nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
        nn.init.zeros_(layer.bias)
    return layer
