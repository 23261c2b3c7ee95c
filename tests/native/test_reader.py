"""The reader finds the same memory by DLPack's C functions as by asking the tensor's attributes."""

from __future__ import annotations

from array import array

import pytest
import torch
from torch import nn

from undertow.native import available, kernels
from undertow.native.statistics import CODES, PLAIN, reader

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built here")
READ = {
    "vector": torch.arange(5.0),
    "half": torch.arange(6.0).half(),
    "bfloat16": torch.arange(6.0).bfloat16(),
    "double": torch.arange(6.0).double(),
    "parameter": nn.Parameter(torch.ones(2, 3)),
    "scalar": torch.tensor(3.0),
    "part": torch.arange(12.0).view(3, 4)[1:],
    "one column": torch.arange(4.0).view(4, 1).t(),
    "expanded by one": torch.ones(3).expand(1, 3),
}
LEFT = {
    "columns": torch.ones(3, 4).t(),
    "every other": torch.ones(6)[::2],
    "repeated": torch.ones(1).expand(4),
    "empty": torch.empty(0, 3),
    "integers": torch.arange(3),
    "booleans": torch.ones(3, dtype=torch.bool),
    "complex": torch.ones(3, dtype=torch.complex64),
    "negated": torch._neg_view(torch.ones(3)),
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(3, device="meta"),
    "no tensor": [1.0, 2.0],
}


@pytest.fixture(params=["by DLPack", "by attributes"])
def either(request):
    if request.param == "by attributes":
        return kernels.module.Reader(tuple(PLAIN), tuple(CODES), torch.get_num_threads, None)
    if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this torch has no table of C functions")
    return reader


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(either, kind):
    row = array("d", [-1.0] * 8)
    values = READ[kind].detach().double()
    assert either.read(READ[kind], row.buffer_info()[0])
    assert row[0] == values.numel()
    assert row[1] == pytest.approx(values.mean().item())
    assert row[3] == values.abs().max()


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_left_to_torch(either, kind):
    row = array("d", [-1.0] * 8)
    assert not either.read(LEFT[kind], row.buffer_info()[0])
    assert row[0] == -1


def test_nothing_inside_of_a_transform(either):
    row, said = array("d", [-1.0] * 8), []

    def look(x):
        said.append(either.read(x, row.buffer_info()[0]))
        return x.sum()

    torch.func.vmap(look)(torch.ones(2, 3))
    torch.func.grad(look)(torch.ones(3))
    assert said == [False, False]
