"""The step-wise layers equal the fused ones, and their sites hold the gradients of each step and gate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._pytree import tree_leaves

from undertow.probe.nonfinite.replica import replica
from undertow.probe.unrolled.recurrent import unroll

LAYERS = {
    "rnn": lambda: nn.RNN(5, 4),
    "rnn relu": lambda: nn.RNN(5, 4, nonlinearity="relu", batch_first=True),
    "lstm": lambda: nn.LSTM(5, 4, batch_first=True),
    "lstm without bias": lambda: nn.LSTM(5, 4, bias=False),
    "deep lstm, both ways, projected": lambda: nn.LSTM(5, 4, 3, bidirectional=True, proj_size=2),
    "gru": lambda: nn.GRU(5, 4),
    "deep gru, both ways": lambda: nn.GRU(5, 4, 2, bidirectional=True, batch_first=True),
}
INPUTS = ("batch", "one sequence", "packed", "packed and sorted", "with a state")


def given(kind: str, layer: nn.RNNBase) -> tuple[Any, ...]:
    torch.manual_seed(1)
    if kind == "one sequence":
        return (torch.randn(6, 5),)
    x = torch.randn(3, 6, 5) if layer.batch_first else torch.randn(6, 3, 5)
    if kind.startswith("packed"):
        lengths = [6, 4, 1] if kind.endswith("sorted") else [1, 6, 4]
        return (pack_padded_sequence(x, lengths, layer.batch_first, kind.endswith("sorted")), state(layer))
    return (x, state(layer)) if kind == "with a state" else (x,)


def state(layer: nn.RNNBase) -> Any:
    ways = layer.num_layers * (1 + layer.bidirectional)
    hidden = torch.randn(ways, 3, layer.proj_size or 4)
    return (hidden, torch.randn(ways, 3, 4)) if layer.mode == "LSTM" else hidden


def tensors(output: Any) -> list[Tensor]:
    found = [o.data if isinstance(o, PackedSequence) else o for o in output]
    return [t for t in tree_leaves(found) if isinstance(t, Tensor)]


def gradients(layer: nn.Module, output: Any) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    total = sum((t * torch.randn(t.shape, generator=generator)).sum() for t in tensors(output))
    return list(torch.autograd.grad(total, list(layer.parameters())))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_equal_the_fused_layers(name: str, kind: str) -> None:
    torch.manual_seed(0)
    fused = LAYERS[name]()
    slow = replica(fused, unroll)
    assert [n for n, _ in slow.named_parameters()] == [n for n, _ in fused.named_parameters()]
    expected, output = fused(*given(kind, fused)), slow(*given(kind, fused))
    assert [t.shape for t in tensors(output)] == [t.shape for t in tensors(expected)]
    torch.testing.assert_close(tensors(output), tensors(expected), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(slow, output), gradients(fused, expected), rtol=1e-5, atol=1e-6)
    assert not any(True for _ in fused.children())


class Cells(nn.Module):
    """A loop over time by hand."""

    def __init__(self, make: type[nn.RNNCellBase], **options: Any) -> None:
        super().__init__()
        self.cell, self.head = make(5, 4, **options), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        for step in x:
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize("shape", [(6, 3, 5), (6, 5)], ids=["batch", "one"])
@pytest.mark.parametrize("make", [nn.RNNCell, nn.LSTMCell, nn.GRUCell], ids=lambda c: c.__name__)
def test_cells_too(make: type[nn.RNNCellBase], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    fused, x = Cells(make), torch.randn(shape)
    slow = replica(fused, unroll)
    torch.testing.assert_close(slow(x), fused(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(slow, (slow(x),)), gradients(fused, (fused(x),)), rtol=1e-5, atol=1e-6)
