"""A panel's readings are those of `statistics`, whatever the tensor and wherever it lies."""

import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from undertow.foundation import InputError
from undertow.native import Panel, panel, statistics
from undertow.native.statistics import by_torch

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def alike(found, expected):
    assert found[4:] == expected[4:]
    assert found.count == expected.count
    assert found[1:4] == pytest.approx(expected[1:4], rel=1e-6, abs=1e-6 * expected.rms, nan_ok=True)


def read(table, slot):
    return table.read()[slot]


def examples():
    torch.manual_seed(0)
    values = [torch.randn(n) for n in (1, 5, 4096, 70_000)]
    values[2][::2] = 0
    values[3][7], values[3][8] = math.nan, -math.inf
    return values


def test_slots_are_read_together_later():
    tensors, table = examples(), Panel()
    assert [table.add(t) for t in tensors] == [0, 1, 2, 3]
    assert table.add_many(t.double() for t in tensors) == range(4, 8)
    readings = table.read()
    table.clear()
    assert len(table) == 0
    assert table.add(tensors[1]) == 0
    assert list(map(str, readings[:4])) == [str(statistics(t)) for t in tensors]
    assert list(map(str, readings))[4:] == [str(statistics(t.double())) for t in tensors]
    assert str(readings[-1]) == str(readings[7])
    with pytest.raises(IndexError):
        readings[8]


def test_norm_of_several_slots():
    torch.manual_seed(2)
    table, tensors = Panel(), [torch.randn(300), torch.randn(20).double(), torch.empty(0), torch.randn(5) * 1e-30]
    table.add_many(tensors)
    table.add(torch.tensor([1.0, math.inf]))
    table.add(torch.tensor([math.nan, math.inf]))
    readings = table.read()
    whole = torch.cat([t.double() for t in tensors]).norm().item()
    assert readings.norm(slice(4)) == pytest.approx(whole, rel=1e-6)
    assert readings.norm([3]) == pytest.approx(tensors[3].double().norm().item(), rel=1e-6)
    assert readings.norm([]) == readings.norm([2]) == 0.0
    assert readings.norm(range(5)) == math.inf
    assert math.isnan(readings.norm(range(6)))


def test_any_number_of_threads_gives_the_same_bits():
    x, found = torch.randn((1 << 20) + 4321, generator=torch.Generator().manual_seed(4)), []
    x[::5] = 0
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            table = Panel()
            table.add_many([x, x.double(), x.bfloat16()])
            table.add(x)
            table.add_difference(x, x.flip(0))
            found.append(list(table.read()))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    alike(found[0][0], by_torch(x))


def test_a_panel_grows():
    table, tensors = Panel(), [torch.full((3,), float(k)) for k in range(700)]
    table.add_many(tensors[:1])
    table.add_many(tensors[1:600])
    for t in tensors[600:]:
        table.add(t)
    assert [r.mean for r in table.read()] == [float(k) for k in range(700)]


def odd_ones():
    x = torch.randn(6, 8)
    with torch.inference_mode():
        inference = torch.randn(5)
    return [
        nn.Parameter(x),
        x.t(),
        x[:, ::2],
        x.expand(3, 6, 8),
        x.to_sparse(),
        torch.sparse_coo_tensor([[1, 4, 1]], torch.ones(3, 2), (9, 2)),
        torch.zeros(4, 4).to_sparse(),
        torch.randn(4, dtype=torch.complex64).conj().imag,
        torch.tensor([-3, 0, 4]),
        torch.tensor([True, False]),
        torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn),
        torch.empty(0),
        torch.tensor(3.0),
        x.as_subclass(Named),
        (x * 2).requires_grad_().tanh(),
        inference,
    ]


class Named(torch.Tensor):
    pass


@pytest.mark.filterwarnings("ignore:Sparse invariant")
def test_any_tensor_one_by_one_and_all_at_once():
    one_by_one, at_once, tensors = Panel(), Panel(), odd_ones()
    assert [one_by_one.add(t) for t in tensors] == list(at_once.add_many(tensors))
    for tensor, found, again in zip(tensors, one_by_one.read(), at_once.read(), strict=True):
        alike(found, by_torch(tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()))
        assert str(again) == str(found)


def test_of_a_complex_tensor_its_two_parts_are_read():
    table, z = Panel(), torch.randn(7, dtype=torch.complex64)
    slots = table.add(z), table.add(torch.view_as_real(z))
    found = table.read()
    assert found[slots[0]] == found[slots[1]]
    assert found[slots[0]].count == 14


def test_a_refused_tensor_takes_no_slot():
    table = Panel()
    with pytest.raises(InputError):
        table.add(torch.empty(3, device="meta"))
    with pytest.raises(InputError, match=r"torch\.func"):
        torch.func.vmap(table.add)(torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"torch\.func"):
        torch.func.functionalize(table.add)(torch.zeros(2, 3))
    assert len(table) == 0


def test_a_panel_has_memory_of_its_own():
    with FakeTensorMode():
        panel = Panel()
        with pytest.raises(InputError, match="FakeTensor"):
            panel.add(torch.ones(3))
    assert panel.read()[panel.add(torch.ones(3)) :] == []
    assert panel.read()[0] == statistics(torch.ones(3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_differences(dtype):
    torch.manual_seed(1)
    table = Panel()
    for shape in ((3,), (64, 64), (9001,), (5, 7, 3)):
        before = torch.randn(shape).to(dtype)
        before.view(-1)[1:3] = torch.tensor([math.inf, -math.inf])
        after = (before.double() + 1e-3 * torch.randn(shape).double()).to(dtype)
        after.view(-1)[0], after.view(-1)[-1] = math.nan, math.inf
        wide = torch.float32 if dtype.itemsize < 4 else dtype
        expected = statistics(after.to(wide) - before.to(wide))
        alike(read(table, table.add_difference(after, before)), expected)
        if len(shape) > 1:
            alike(read(table, table.add_difference(after.transpose(0, 1), before.transpose(0, 1))), expected)
            turned = before.transpose(0, 1).contiguous().transpose(0, 1)
            alike(read(table, table.add_difference(nn.Parameter(after), turned)), expected)


def test_an_unchanged_weight_counts_as_a_zero():
    before = torch.ones(1000, dtype=torch.bfloat16)
    after = before + 1e-4  # below half a unit in the last place
    after[:10] += 0.1
    found = Panel()
    found.add_difference(after, before)
    assert found.read()[0].zeros == 990
    assert found.read()[0].max == 0.1015625


def test_differences_of_other_kinds():
    table = Panel()
    far = torch.tensor([1e300, -1e-300, math.inf, 5.0], dtype=torch.float64)
    near = torch.tensor([-1e300, 1e-300, math.inf, 5.0], dtype=torch.float64)
    table.add_difference(far, near)
    found = table.read()[0]
    assert (found.max, found.nans, found.zeros) == (2e300, 1, 1)
    assert found.rms == pytest.approx(2e300 / math.sqrt(3))
    alike(
        read(table, table.add_difference(torch.tensor([5, 2]), torch.tensor([1, 2]))), statistics(torch.tensor([4, 0]))
    )
    few, many = torch.zeros(9, 2), torch.randn(9, 2)
    few[3] = 1.0
    alike(read(table, table.add_difference(few.to_sparse(), many.to_sparse())), statistics(few - many))
    with pytest.raises(InputError, match="one shape and dtype"):
        table.add_difference(torch.zeros(3), torch.zeros(4))
    with pytest.raises(InputError, match="one shape and dtype"):
        table.add_difference(torch.zeros(3), torch.zeros(3, dtype=torch.float64))


@pytest.fixture
def elsewhere(monkeypatch):
    """Every tensor counts as one of another device: its numbers go round by that device's own table."""
    monkeypatch.setattr(panel, "on_host", lambda tensor: False)
    monkeypatch.setattr(panel, "reader", None)
    monkeypatch.setattr(panel, "read", lambda tensor, row: False)
    monkeypatch.setattr(panel, "address", lambda tensor: 0)


def test_numbers_of_other_devices_arrive_when_they_are_read(elsewhere):
    table, tensors = Panel(), [*examples(), *odd_ones()]
    table.add_many(tensors[:5])
    table.flush()  # half of them are on their way before the rest is there
    for tensor in tensors[5:]:
        table.add(tensor)
    readings = table.read()
    table.clear()
    table.add(torch.full((3,), 9.0))
    for tensor, found in zip(tensors, readings, strict=True):
        alike(found, statistics(tensor))
    assert table.read()[0].mean == 9.0
    assert table.read()[0].mean == 9.0  # reading twice


@pytest.mark.filterwarnings("ignore:Sparse invariant")
def test_without_the_kernel(monkeypatch):
    expected = [statistics(t) for t in odd_ones()[:4]]
    monkeypatch.setattr(import_module("undertow.native.statistics"), "_READ", frozenset())
    monkeypatch.setattr(panel, "reader", None)
    monkeypatch.setattr(panel, "read", lambda tensor, row: False)
    table = Panel()
    table.add_many(odd_ones()[:4])
    assert [r.count for r in table.read()] == [e.count for e in expected]
    x = examples()[3]
    alike(read(table, table.add(x)), statistics(x))
    alike(read(table, table.add_difference(x, x.flip(0))), statistics(x - x.flip(0)))


def test_the_triton_kernel_in_its_interpreter():
    pytest.importorskip("triton")
    script = Path(__file__).with_name("interpreted_sums.py")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split() == ["36", "alike"]
