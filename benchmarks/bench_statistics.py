"""One pass over a tensor: the kernel, the torch path, torch's own reductions, and what a copy of the tensor costs.

`make bench` prints times and, in one run, ratios: times of different runs of a shared machine do not compare.
"""

import statistics as sample
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from undertow.native import available, statistics
from undertow.native.statistics import by_torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIZES = (1 << 10, 1 << 14, 1 << 18, 1 << 22)
ROUNDS = 15


def reductions(x: Tensor) -> tuple[float, ...]:
    """What one would write by hand for the same numbers, without the counts of NaNs, infinities and subnormals."""
    return x.mean().item(), x.norm().item(), x.abs().max().item(), float((x == 0).sum()), float(x.isfinite().all())


def copied(x: Tensor) -> Callable[[Tensor], Tensor]:
    return torch.empty_like(x).copy_


def example(size: int, dtype: torch.dtype) -> Tensor:
    x = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[::3] = 0
    return x


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("path", [statistics, by_torch, reductions], ids=lambda f: f.__name__)
def test_a_million_values(benchmark, path, dtype):
    benchmark(path, example(1 << 20, dtype))


def test_ratios_in_one_run(benchmark):
    assert available(), "benchmark the kernels where they are built"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the kernel has one thread
    try:
        lines = benchmark.pedantic(lambda: [row(size, dtype) for dtype in DTYPES for size in SIZES], rounds=1)
    finally:
        torch.set_num_threads(threads)
    print("\n| dtype | values | kernel | torch path | by hand | copy | torch path / kernel | kernel / copy |")
    print("|---|---|---|---|---|---|---|---|", *lines, sep="\n")


def row(size: int, dtype: torch.dtype) -> str:
    x = example(size, dtype)
    # Interleaved, so that whatever else the machine does meets all four alike.
    paths = (statistics, by_torch, reductions, copied(x))
    repeats = max(1, (1 << 16) // size)
    times = [[microseconds(path, x, repeats) for path in paths] for _ in range(ROUNDS)]
    kernel, torch_path, by_hand, copy = (sample.median(column) for column in zip(*times, strict=True))
    name = str(dtype).removeprefix("torch.")
    shown = " | ".join(f"{t:,.1f} µs" for t in (kernel, torch_path, by_hand, copy))
    return f"| {name} | {size:,} | {shown} | {torch_path / kernel:.1f} | {kernel / copy:.1f} |"


def microseconds(path: Callable[[Tensor], object], x: Tensor, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        path(x)
    return (time.perf_counter() - start) / repeats * 1e6
