"""Slope statistics by the kernels against torch operations on the slopes themselves: counts and units exactly."""

import math

import pytest
import torch

from undertow.native import available, pointwise, slope_statistics, statistics_of_slopes
from undertow.native.slopes import by_torch, takes

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built here")
PARAMETERS = {"leaky_relu": (0.01,), "elu": (1.0,), "celu": (1.5,), "swish": (1.0,), "softplus": (2.0,)}
SHAPES = [
    ((128, 256), False),
    ((33, 10), False),
    ((7, 5, 3), False),
    ((4, 9, 7, 7), True),
    ((3, 2, 5000), True),
    ((2, 70, 1, 1), True),
    ((40, 1), False),
    ((1, 1, 9), True),
    ((300,), False),
    ((300,), True),
    ((), False),
]


def alike(found, expected):
    assert (found.count, found.flat, found.dead) == (expected.count, expected.flat, expected.dead)
    assert torch.equal(found.alive, expected.alive)
    assert found.mean == pytest.approx(expected.mean, rel=1e-6, abs=1e-7 * expected.rms, nan_ok=True)
    assert found.rms == pytest.approx(expected.rms, rel=1e-6, nan_ok=True)


def compare(name, x, flat, channels_first):
    found = slope_statistics(name, PARAMETERS.get(name, ()), x, flat, channels_first)
    slopes = pointwise.slope(name, PARAMETERS.get(name, ()), x)
    alike(found, by_torch(slopes, flat, channels_first))
    alike(statistics_of_slopes(slopes, flat, channels_first), found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", pointwise.names())
def test_every_kernel(name, dtype):
    x = 4 * torch.randn(64, 37, generator=torch.Generator().manual_seed(0)).to(dtype)
    if takes(name, x):
        x[:, 5] = -200.0
        compare(name, x, 0.05, False)


@pytest.mark.parametrize(("shape", "channels_first"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_layouts(shape, channels_first, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype) - 1.5  # one ReLU in fifteen is on: some units of a small batch are dead
    compare("relu", x, 0.5, channels_first)
    if x.dim() > 1:
        compare("tanh", x.transpose(0, 1), 0.5, channels_first)
        compare("relu", x[::2], 0.5, channels_first)
        compare("relu", x.expand(3, *shape), 0.5, channels_first)
    if x.dim() == 4:
        compare("relu", x.to(memory_format=torch.channels_last), 0.5, channels_first)


def test_dead_units_are_found_at_any_size():
    torch.manual_seed(1)
    for samples, units in ((500, 3), (500, 64), (100, 100), (9, 5000), (70_000, 3)):
        x = torch.randn(samples, units)
        x[:, ::2] = -x[:, ::2].abs()
        x[-1, 0], x[-1, 1::2] = 1.0, 1.0  # only the last sample
        compare("relu", x, 0.05, False)
        assert slope_statistics("relu", (), x, 0.05).dead == len(range(2, units, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "channels_first"),
    [
        ((1024, 1024), False),
        ((8, 128, 256), False),
        ((131_072,), True),
        ((16, 32, 30, 30), True),
        ((2, 3, 300, 300), True),
    ],
)
def test_of_many_values_a_sample_is_read(shape, channels_first, dtype):
    """Its numbers are those of all values to five standard errors; units that it leaves out are found all the same."""
    torch.manual_seed(2)
    level = torch.randn(shape[-1]) if not channels_first else torch.randn(shape[1:2] + (1,) * (len(shape) - 2))
    x = (torch.randn(shape) + level).to(dtype)  # units differ
    found = slope_statistics("gelu", (), x, 0.05, channels_first)
    expected = by_torch(pointwise.slope("gelu", (), x), 0.05, channels_first)
    share = expected.flat / expected.count
    assert (found.count, found.dead) == (expected.count, 0)
    assert found.flat == pytest.approx(expected.flat, abs=5 * math.sqrt(share / 65_536) * found.count)
    assert found.mean == pytest.approx(expected.mean, abs=5 * expected.rms / 256)
    assert found.rms == pytest.approx(expected.rms, rel=5 / 512)
    x.movedim(1 if channels_first and x.dim() > 2 else -1, 0)[0] = -200.0
    if x.dim() > 1:
        compare("gelu", x, 0.05, channels_first)


def test_any_number_of_threads():
    before = torch.get_num_threads()
    x = torch.randn(900, 700, generator=torch.Generator().manual_seed(5))
    x[:, 3], x[:-1, 4] = -1.0, -1.0  # with a dead unit all values are read
    planes = x.view(30, 30, 700).clone()
    planes[:, 7] = -1.0
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            compare("relu", x, 0.05, False)
            compare("relu", planes, 0.05, True)
            alike(statistics_of_slopes(x.half(), 0.05), by_torch(x.half(), 0.05))
    finally:
        torch.set_num_threads(before)


def test_what_is_not_finite_is_counted_apart():
    x = torch.randn(50, 4)
    x[3, 1], x[4, 1] = math.nan, math.inf
    x[:, 2] = math.nan
    compare("tanh", x, 0.05, False)
    found = slope_statistics("tanh", (), x, 0.05)
    assert (found.dead, math.isfinite(found.mean), math.isfinite(found.rms)) == (0, True, True)
    assert math.isnan(slope_statistics("tanh", (), torch.full((3, 2), math.nan), 0.05).mean)
    nothing = slope_statistics("tanh", (), torch.empty(0, 4), 0.05)
    assert (nothing.count, nothing.dead) == (0, 4)


def test_slopes_beyond_the_range_of_their_squares():
    for size in (1e-25, 1e25):
        compare("relu_squared", size * torch.randn(100, 8).abs(), 0.05, False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_slopes_of_16_bits(dtype):
    slopes = torch.randn(200, 24, generator=torch.Generator().manual_seed(2)).to(dtype)
    slopes[:, 3] = -0.0
    slopes[::2] = torch.tensor(0.05).to(dtype)  # the threshold, as the format has it, is not below itself
    slopes[1, 7] = math.nan
    alike(statistics_of_slopes(slopes, 0.05), by_torch(slopes, 0.05))
    alike(statistics_of_slopes(slopes.view(10, 5, 8, 12), 0.05, True), by_torch(slopes.view(10, 5, 8, 12), 0.05, True))


def test_nothing_counts_as_flat_below_zero():
    assert slope_statistics("relu", (), torch.randn(30, 4), 0.0).flat == 0
    with pytest.raises(ValueError, match="out of range"):
        slope_statistics("relu", (), torch.randn(30, 4), -1.0)
