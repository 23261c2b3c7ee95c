"""Large tensors are computed a piece at a time, with the same results in the same places."""

import pytest
import torch

from undertow.activations import activation
from undertow.activations.blocks import BLOCK, in_blocks, in_rows

LAYOUTS = {
    "contiguous": lambda: torch.randn(9, BLOCK // 4 + 3),
    "transposed": lambda: torch.randn(BLOCK // 4 + 3, 9).T,
    "channels last": lambda: torch.randn(4, 3, 64, 65).to(memory_format=torch.channels_last),
    "strided": lambda: torch.randn(9, BLOCK)[:, ::2],
    "small": lambda: torch.randn(5, 3),
    "empty": lambda: torch.empty(0, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elementwise(layout):
    x = LAYOUTS[layout]()
    g = torch.randn(x.shape)
    calls = []

    def product(x, g):
        calls.append(x.numel())
        return x.double() * g

    y = in_blocks(product, x, g)
    assert torch.equal(y, (x.double() * g).float())
    assert y.dtype == torch.float32
    if layout == "contiguous":
        assert len(calls) > 2
        assert max(calls) <= BLOCK


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [0, -1])
def test_by_rows(layout, dim):
    x = LAYOUTS[layout]()

    def halves(x):
        return x.double().narrow(dim, 0, x.shape[dim] // 2)

    assert torch.equal(in_rows(halves, dim, x), halves(x).float())


@pytest.mark.parametrize("name", ["snake", "tanhshrink", "hardshrink", "gelu_10", "softmax", "log_softmax", "entmax15"])
def test_a_large_tensor_is_what_its_parts_are(name):
    act, x = activation(name), torch.randn(300, 257, generator=torch.Generator().manual_seed(0))
    whole, parts = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = act(whole)
    assert torch.equal(y, torch.cat([act(row) for row in parts.split(1)]))
    g = torch.randn(y.shape)
    y.backward(g)
    torch.cat([act(row) for row in parts.split(1)]).backward(g)
    assert torch.equal(whole.grad, parts.grad)
    double = act(x.double())
    assert torch.equal(double[7], act(x[7].double()))
