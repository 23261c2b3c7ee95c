"""The recurrent layers of a model, and the parts of their weights."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

GATES = {nn.RNN: 1, nn.RNNCell: 1, nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3}
"""Blocks of rows of a recurrent weight, one a gate."""


def recurrent(model: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """Path, layer and number of gates of each recurrent layer of torch's."""
    for name, module in model.named_modules():
        gates = next((count for kind, count in GATES.items() if isinstance(module, kind)), None)
        if gates is not None:
            yield name, module, gates


def recurrent_weights(model: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """Each weight from state to state, with its number of gates."""
    for _, module, gates in recurrent(model):
        yield from ((p, gates) for name, p in module.named_parameters() if "weight_hh" in name)
