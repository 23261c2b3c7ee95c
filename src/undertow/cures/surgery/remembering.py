"""Recurrent layers that remember longer, or look back less far; what a patch of these cures imports."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from undertow.cures.surgery.recurrence import recurrent
from undertow.cures.training import Training, first_batch
from undertow.cures.trials.seeding import random_state_kept
from undertow.probe import objective

KEEPING = {nn.LSTM: (1, 4), nn.LSTMCell: (1, 4), nn.GRU: (1, 3), nn.GRUCell: (1, 3)}
"""Which of how many gates keeps the state where it is open."""


def lengths(training: Training) -> dict[str, int]:
    """How many time steps each recurrent layer is given in the first batch, by path; 0 of packed sequences."""
    model, loss = deepcopy((training.model, training.loss))
    found: Counter[str] = Counter()
    for name, layer, _ in recurrent(model):

        def note(layer: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            if isinstance(layer, nn.RNNBase):
                x = args[0]
                time = 1 if layer.batch_first and isinstance(x, Tensor) and x.dim() == 3 else 0
                found[name] = 0 if isinstance(x, PackedSequence) else x.shape[time]
            else:
                found[name] += 1

        layer.register_forward_pre_hook(note)
    with random_state_kept():
        objective(loss)(model, first_batch(training))
    return dict(found)


@torch.no_grad()
def chrono_(model: nn.Module, steps: dict[str, int]) -> None:
    """b ← ln u, u ~ U(1, T − 1), for the gate of each unit that keeps its state, and −b for an LSTM's input gate.

    A gate at σ(ln u) forgets over about u steps, so that the units of a layer cover all times up to T.  `steps` is T
    of each layer by its path.

    Source: Tallec and Ollivier (2018), arXiv:1804.11188.
    """
    for name, length in steps.items():
        layer = model.get_submodule(name)
        place, gates = next(v for kind, v in KEEPING.items() if isinstance(layer, kind))
        for key, bias in layer.named_parameters():
            if "bias" not in key:
                continue
            size = len(bias) // gates
            keep, let_in = bias[place * size : (place + 1) * size], bias[:size]
            if "bias_hh" in key:
                keep.zero_()
            else:
                keep.uniform_(1, max(length - 1, 1)).log_()
            if gates == 4:  # an LSTM, whose first gate lets in
                let_in.copy_(-keep)


@torch.no_grad()
def identity_(model: nn.Module, names: list[str]) -> None:
    """h ← relu(Wx + h) to begin with: these layers get ReLU, identity weights from state to state, biases of 0.

    Source: Le, Jaitly and Hinton (2015), arXiv:1504.00941.
    """
    for name in names:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.RNN | nn.RNNCell)
        layer.nonlinearity = "relu"
        if isinstance(layer, nn.RNN):
            layer.mode = "RNN_RELU"
        for key, value in layer.named_parameters():
            if "weight_hh" in key:
                nn.init.eye_(value)
            elif "bias" in key:
                nn.init.zeros_(value)


class Stretched:
    """A recurrent layer that hands its state on from stretch to stretch without its gradient."""

    stretch: int

    def forward(self, input: Any, hx: Any = None) -> Any:
        time = 1 if self.batch_first and input.dim() == 3 else 0  # pyright: ignore[reportAttributeAccessIssue]
        outputs = []
        for part in input.split(self.stretch, time):
            output, hx = super().forward(part, _detached(hx) if outputs else hx)  # pyright: ignore
            outputs.append(output)
        return torch.cat(outputs, time), hx


class StretchedRNN(Stretched, nn.RNN): ...


class StretchedLSTM(Stretched, nn.LSTM): ...


class StretchedGRU(Stretched, nn.GRU): ...


STRETCHED: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: StretchedRNN,
    nn.LSTM: StretchedLSTM,
    nn.GRU: StretchedGRU,
}


def stretch_(model: nn.Module, steps: dict[str, int]) -> None:
    """Cuts the gradient of these layers' states every so many steps; what they compute stays the same."""
    for name, length in steps.items():
        layer = model.get_submodule(name)
        layer.__class__ = STRETCHED[type(layer)]
        layer.__dict__["stretch"] = length


def stretches(training: Training, parts: int) -> dict[str, int]:
    """The length of each stretch, by path, of the layers whose sequences can be cut into so many."""
    found = {name: length for name, length in lengths(training).items() if length >= 2 * parts}
    layers = {name: training.model.get_submodule(name) for name in found}
    kept = (n for n, layer in layers.items() if type(layer) in STRETCHED and not layer.bidirectional)
    return {name: math.ceil(found[name] / parts) for name in kept if name}


def _detached(state: Any) -> Any:
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
