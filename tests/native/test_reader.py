"""What the kernels write into rows of tensors, against the same numbers by other ways."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from undertow.native import Panel, available, kernels, statistics
from undertow.native.slopes import derivative, slope_statistics
from undertow.native.statistics import reader

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built here")


def rows(many: int) -> torch.Tensor:
    return torch.full((many, 8), -1.0, dtype=torch.float64)


def inputs() -> list[tuple[torch.Tensor, bool]]:
    torch.manual_seed(0)
    wide, images, odd = torch.randn(600, 130), torch.randn(3, 5, 9, 9), torch.randn(40, 7)
    wide[:, 3], images[:, 2], odd[3, 1], odd[:, 4] = -1.0, -2.0, math.inf, math.nan
    return [(wide, False), (images, True), (odd, False), (-torch.ones(4), False)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_slope_of_relu_by_its_output_is_that_by_its_input(dtype: torch.dtype) -> None:
    for x, channels_first in inputs():
        expected = slope_statistics("relu", (), x, 0.05, channels_first)
        y, found = x.relu().to(dtype), rows(2)
        alive = torch.empty(len(expected.alive), dtype=torch.bool)
        at = found.data_ptr()
        assert reader.rectified(y, channels_first, len(alive), at, at + 64, alive.data_ptr())
        assert torch.equal(alive, expected.alive)
        assert found[1, 0] == x.numel()
        wanted = [expected.mean, expected.rms, expected.flat, expected.dead]
        assert found[1, 1:5].tolist() == pytest.approx(wanted, rel=1e-12, nan_ok=True)
        assert found[0].tolist() == pytest.approx(list(statistics(y)), nan_ok=True)


def test_the_slope_of_another_activation() -> None:
    for x, channels_first in inputs()[:3]:
        expected = slope_statistics("tanh", (), x, 0.05, channels_first)
        alive, found = torch.empty(len(expected.alive), dtype=torch.bool), rows(1)
        f = derivative("tanh", (), 0.05)
        assert reader.slope(x, f, channels_first, len(alive), found.data_ptr(), alive.data_ptr())
        assert torch.equal(alive, expected.alive)
        assert found[0, 1:5].tolist() == [expected.mean, expected.rms, expected.flat, expected.dead] or x.isnan().any()


def test_what_cannot_be_read_leaves_the_row_alone() -> None:
    x, found = torch.randn(6, 8), rows(3)
    at = found.data_ptr()
    odd = [x.t(), x.to_sparse(), torch.ones(2, dtype=torch.int64), x.to(torch.complex64), torch.empty(0)]
    assert not any(reader.read(t, at) for t in odd)
    assert reader.read_all([x.t(), x, odd[1]], at) == [0, 2]
    assert found[0, 0] == found[2, 0] == -1
    assert not reader.rectified(x, False, 9, at, at + 64, torch.empty(9, dtype=torch.bool).data_ptr())
    assert torch.func.vmap(lambda t: t * reader.read(t, at))(x).count_nonzero() == 0


def test_a_row_is_written_once() -> None:
    table = Panel(2)
    table.put(1, torch.full((3,), 2.0))
    table.put(1, torch.full((3,), 5.0))
    readings = table.close()
    assert (readings.has(0), readings.has(1), readings[1].mean) == (False, True, 2.0)


def test_samples_of_other_parameters_than_before_are_left_out() -> None:
    small, large = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(300, 100))
    samples = kernels.module.Samples(reader, [(5, 1, 5, 5), (30_000, 64, 128, 470)])
    weights, changes = rows(2), rows(2)
    assert samples.keep([small, large], weights.data_ptr()) == []
    assert weights[:, 0].tolist() == [5, 30_000]
    with torch.no_grad():
        large += 0.5
        small.data = torch.randn(6)
    samples.compare([small, large], [0, 1], changes.data_ptr())
    assert changes[:, 0].tolist() == [-1, 64 * 128]
    assert changes[1, 2] == pytest.approx(0.5, rel=1e-6)
    with pytest.raises(ValueError, match="out of range"):
        kernels.module.Samples(reader, [(10, 2, 8, 4)])
