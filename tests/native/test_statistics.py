"""The kernel and the torch path, against exact arithmetic on the same values."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from undertow.foundation import InputError
from undertow.native import Statistics, available, statistics, why_not
from undertow.native.statistics import CODES, by_torch
from undertow.record import Reading

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
PATHS = [pytest.param(statistics, id="default"), pytest.param(by_torch, id="torch")]
RELATIVE = 1e-13
"""Sums of a few thousand float64 terms: n·eps is 1e-12 at worst, √n·eps 1e-14 as a rule."""
RMS, MEAN = 1e-6, 1e-7
"""What the kernel promises where it adds up sixteen numbers in float32: of the rms, and of the rms again."""


def exact(tensor: torch.Tensor) -> Statistics:
    values = tensor.detach().double().flatten().tolist()
    finite = [Fraction(v) for v in values if math.isfinite(v)]
    n, tiny = len(finite), torch.finfo(tensor.dtype).tiny
    return Statistics(
        count=len(values),
        mean=float(sum(finite) / n) if n else math.nan,
        rms=_root(sum((v * v for v in finite), Fraction()) / n) if n else math.nan,
        max=float(max(map(abs, finite))) if n else math.nan,
        zeros=sum(v == 0 for v in finite),
        nans=sum(v != v for v in values),
        infs=sum(math.isinf(v) for v in values),
        subnormals=sum(0 < abs(v) < tiny for v in finite),
    )


def _root(square: Fraction) -> float:
    """√ of a fraction that may lie outside the range of floats, by a unit of 2^k."""
    if square == 0:
        return 0.0
    half = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(square / Fraction(4) ** half), half)


def same(found: Statistics, expected: Statistics, scale: float | None = None, doubles: bool = False) -> None:
    scale = expected.rms if scale is None else scale
    rms, mean = (RELATIVE, RELATIVE) if doubles else (RMS, MEAN)
    assert found.count == expected.count
    assert found[4:] == expected[4:]
    assert found.max == expected.max or (math.isnan(found.max) and math.isnan(expected.max))
    assert found.rms == pytest.approx(expected.rms, rel=rms, abs=0, nan_ok=True)
    assert found.mean == pytest.approx(expected.mean, rel=mean, abs=mean * scale or 0, nan_ok=True)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 4095, 4096, 4097, 9000])
def test_random_values_with_every_kind(path, dtype, size):
    torch.manual_seed(size)
    x = torch.randn(size, dtype=torch.float64).to(dtype)
    x[::5] = 0
    x[3::11] = torch.finfo(dtype).tiny / 4
    doubles = path is by_torch or dtype is torch.float64
    same(path(x), exact(x), doubles=doubles)
    x[2::701], x[4::703], x[5::707] = math.nan, math.inf, -math.inf
    same(path(x), exact(x), doubles=doubles)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("dtype", "exponents"),
    [
        (torch.float32, [-45, -40, -38, -32, -31, -25, -20, -13, -11, 0, 17, 20, 25, 38]),
        (torch.bfloat16, [-40, -38, -25, -12, 0, 18, 19, 38]),
        (torch.float64, [-323, -300, -160, -140, 0, 140, 160, 300, 307]),
    ],
)
def test_no_square_leaves_the_range(path, dtype, exponents):
    for exponent in exponents:
        x = torch.full((700,), float(f"1e{exponent}"), dtype=dtype)
        x[::2] *= -3
        if not torch.isfinite(x).all():
            x = x / 4
        same(path(x), exact(x), doubles=path is by_torch or dtype is torch.float64)


def test_each_block_has_its_own_unit():
    """A vanishing gradient beside an exploding one: every block of the kernel in a range of its own."""
    x = torch.randn(6 * 4096 + 700, generator=torch.Generator().manual_seed(3))
    for block, exponent in enumerate((-25, 25, -43, 0, -15, 37, 20)):
        x[4096 * block : 4096 * (block + 1)] *= 10.0**exponent / (10 if exponent == 37 else 1)
    for part in (x[: 4096 * 2], x[4096 * 2 : 4096 * 4], x[4096 * 5 :]):
        same(statistics(part), exact(part))


def test_equal_values_are_added_up_exactly():
    for value in (0.1, 1 / 3, 1e-20, 3e33):
        x = torch.full((24 * 4096,), value)
        found = statistics(x)
        assert found.mean == pytest.approx(x[0].item(), rel=1e-14, abs=0)
        assert found.rms == pytest.approx(x[0].item(), rel=6e-8, abs=0)  # a square is rounded once


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=64, allow_subnormal=True), min_size=0, max_size=40))
def test_any_float64(values):
    x = torch.tensor(values, dtype=torch.float64)
    expected = exact(x)
    # The mean of doubles that cancel keeps the absolute error of their sum, a share of the largest.
    scale = 0.0 if math.isnan(expected.max) else expected.max
    for found in (statistics(x), by_torch(x)):
        same(found, expected, scale, doubles=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=60), st.sampled_from([torch.float16, torch.bfloat16]))
def test_any_bits_of_16(bits, dtype):
    x = torch.tensor(bits, dtype=torch.int32).to(torch.uint16).view(dtype)
    expected = exact(x)
    for found in (statistics(x), by_torch(x)):
        same(found, expected, 0.0 if math.isnan(expected.max) else expected.max)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_finite(path):
    for x in (torch.empty(0), torch.empty(3, 0), torch.full((3,), math.nan), torch.tensor([math.inf, -math.inf])):
        found = path(x)
        assert found.count == x.numel() == found.nans + found.infs
        assert all(map(math.isnan, (found.mean, found.rms, found.max)))


def test_views_and_shapes_do_not_matter():
    x = torch.randn(4, 6, 8, 10)
    expected = statistics(x)
    for view in (x.transpose(0, 3), x.to(memory_format=torch.channels_last), x[::1], x.to_sparse(), x.flatten()):
        same(statistics(view), expected)
    same(statistics(x[:, ::2, 1:]), exact(x[:, ::2, 1:]))
    same(statistics(torch.tensor(3.0).expand(5, 7)), exact(torch.full((5, 7), 3.0)))


def test_other_dtypes():
    assert statistics(torch.tensor([-3, 0, 4]))[:5] == (3, pytest.approx(1 / 3), pytest.approx((25 / 3) ** 0.5), 4.0, 1)
    assert statistics(torch.tensor([True, False]))[1:4] == (0.5, 0.5**0.5, 1.0)
    assert statistics(torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn)).max == 2.0


def test_negative_bit_is_resolved():
    imaginary = torch.randn(9, dtype=torch.complex64).conj().imag
    assert imaginary.is_neg()
    same(statistics(imaginary), exact(imaginary.resolve_neg()))


def test_no_graph_is_built_inside_hooks():
    x = torch.randn(8, 4, requires_grad=True)
    seen = []
    y = x.tanh()
    y.register_hook(lambda gradient: seen.append(Reading(*statistics(gradient))))
    gradient = torch.autograd.grad(y.square().sum(), x, create_graph=True)[0]
    assert gradient.requires_grad
    assert statistics(gradient).count == 32
    assert seen[0].rms == pytest.approx((2 * y).square().mean().sqrt().item())
    assert statistics(torch.nn.Parameter(torch.ones(3))) == by_torch(torch.nn.Parameter(torch.ones(3)))


@pytest.mark.filterwarnings("ignore:Sparse (invariant|CSR)")
def test_sparse_tensors_are_not_densified():
    dense = torch.zeros(50, 8)
    dense[[3, 7, 40]] = torch.randn(3, 8)
    index = torch.tensor([[3, 40, 7, 3]])
    repeated = torch.sparse_coo_tensor(index, torch.stack([dense[3] / 2, dense[40], dense[7], dense[3] / 2]), (50, 8))
    huge = torch.sparse_coo_tensor(index, torch.ones(4, 8), (1 << 40, 8))
    same(statistics(repeated), exact(dense))
    same(statistics(dense.to_sparse_csr()), exact(dense))
    same(statistics(torch.zeros(4, 4).to_sparse()), exact(torch.zeros(4, 4)))
    assert statistics(huge).zeros == 8 * ((1 << 40) - 3)
    assert statistics(huge).max == 2.0


def test_nested_tensors():
    rows = [torch.randn(3, 4), torch.randn(5, 4)]
    same(statistics(torch.nested.nested_tensor(rows, layout=torch.jagged)), exact(torch.cat(rows)))


def test_bad_tensors_are_refused():
    with pytest.raises(InputError, match="view_as_real"):
        statistics(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(InputError, match="meta tensor"):
        statistics(torch.zeros(2, device="meta"))
    with pytest.raises(InputError, match=r"inside torch\.func"):
        torch.func.vmap(statistics)(torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"inside torch\.func"):
        torch.func.grad(lambda x: statistics(x) and x.sum())(torch.zeros(3))
    with FakeTensorMode(), pytest.raises(InputError, match="FakeTensor"):
        statistics(torch.zeros(2))


def test_fields_are_those_of_a_reading():
    assert Statistics._fields == tuple(Reading.__dataclass_fields__)


def test_kernels_say_whether_they_are_there():
    assert available() == (why_not() == "")
    assert torch.float32 in CODES


@pytest.mark.skipif(not available(), reason="the kernels are not built here")
def test_the_kernel_refuses_what_it_cannot_read():
    from undertow.native import kernels

    row = torch.zeros(8, dtype=torch.float64)
    with pytest.raises(ValueError, match="float16, bfloat16"):
        kernels.module.measure(4, torch.zeros(3).data_ptr(), 3, row.data_ptr())
    with pytest.raises(ValueError, match="memory"):
        kernels.module.measure(2, 0, 3, row.data_ptr())


@pytest.mark.skipif(not available(), reason="the kernels are not built here")
def test_threads_do_not_disturb_each_other():
    from threading import Thread

    x, done = torch.randn(1 << 20), []
    threads = [Thread(target=lambda: done.append(statistics(x))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert done == [statistics(x)] * 4
