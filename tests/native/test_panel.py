"""A panel's readings are those of `statistics`, whatever the tensor and wherever it lies."""

import pytest
import torch

from undertow.foundation import InputError
from undertow.native import Panel, statistics


def test_slots_are_read_together_later():
    torch.manual_seed(0)
    tensors = [torch.randn(n) for n in (1, 5, 4096, 70_000)]
    panel = Panel()
    assert [panel.add(t) for t in tensors] == [0, 1, 2, 3]
    assert panel.add_many(t.double() for t in tensors) == range(4, 8)
    readings = panel.read()
    panel.clear()
    assert len(panel) == 0
    assert panel.add(tensors[1]) == 0
    assert readings[:4] == [statistics(t) for t in tensors]
    assert list(readings)[4:] == [statistics(t.double()) for t in tensors]
    assert readings[-1] == readings[7]


def test_a_refused_tensor_takes_no_slot():
    panel = Panel()
    with pytest.raises(InputError, match="meta"):
        panel.add(torch.empty(3, device="meta"))
    assert len(panel) == 0
