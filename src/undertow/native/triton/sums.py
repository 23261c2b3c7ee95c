"""The kernel of `reduce`; imported where triton is there."""

# pyright: basic, reportOperatorIssue=false, reportMissingImports=false, reportAttributeAccessIssue=false
import triton
import triton.language as tl

INFINITE = tl.constexpr(0x7F800000)


@triton.jit
def kernel(x_at, sums_at, count, SMALLEST: tl.constexpr, BLOCK: tl.constexpr):
    """SMALLEST: the bits of the smallest normal number of the format of x, as float32."""
    total = tl.cast(0.0, tl.float64)
    squares = tl.cast(0.0, tl.float64)
    top = tl.cast(0, tl.int32)
    zeros = tl.cast(0, tl.int64)
    nans = tl.cast(0, tl.int64)
    infs = tl.cast(0, tl.int64)
    subnormals = tl.cast(0, tl.int64)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    while start < count:
        i = start + tl.arange(0, BLOCK)
        inside = i < count
        x = tl.load(x_at + i, mask=inside, other=0.0).to(tl.float32)
        size = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        finite = size < INFINITE
        most = tl.max(tl.where(finite, size, 0), 0)
        # 2^k and 2^-k that bring the maximum near 1: no square leaves the range of float32.
        exponent = tl.minimum(tl.maximum(254 - (most >> 23), 1), 253)
        factor = (exponent << 23).to(tl.float32, bitcast=True)
        unit = ((254 - exponent) << 23).to(tl.float32, bitcast=True).to(tl.float64)
        x = tl.where(finite, x, 0.0) * factor
        total += tl.sum(x, 0).to(tl.float64) * unit
        squares += tl.sum(x * x, 0).to(tl.float64) * unit * unit
        top = tl.maximum(top, most)
        zeros += tl.sum((inside & (size == 0)).to(tl.int32), 0)
        nans += tl.sum((size > INFINITE).to(tl.int32), 0)
        infs += tl.sum((size == INFINITE).to(tl.int32), 0)
        subnormals += tl.sum(((size != 0) & (size < SMALLEST)).to(tl.int32), 0)
        start += tl.num_programs(0).to(tl.int64) * BLOCK
    tl.atomic_add(sums_at, total)
    tl.atomic_add(sums_at + 1, squares)
    tl.atomic_max(sums_at + 2, top.to(tl.float32, bitcast=True).to(tl.float64))
    tl.atomic_add(sums_at + 3, zeros.to(tl.float64), mask=zeros > 0)
    tl.atomic_add(sums_at + 4, nans.to(tl.float64), mask=nans > 0)
    tl.atomic_add(sums_at + 5, infs.to(tl.float64), mask=infs > 0)
    tl.atomic_add(sums_at + 6, subnormals.to(tl.float64), mask=subnormals > 0)
