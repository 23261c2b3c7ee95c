"""One pass over a tensor: the kernel, the torch path, torch's own reductions, and what a copy of the tensor costs.

`pytest benchmarks/bench_statistics.py --benchmark-only -s` (part of `make bench`) prints times and, in one run, ratios:
times of different runs of a shared machine do not compare.  One thread.
"""

import statistics as sample
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from undertow.native import Panel, available, pointwise, slope_statistics, statistics
from undertow.native.slopes import by_torch as slopes_by_torch
from undertow.native.statistics import by_torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIZES = (1 << 10, 1 << 15, 1 << 18, 1 << 22)
ROUNDS = 15


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    assert available(), "benchmark the kernels where they are built"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the kernel has one
    yield
    torch.set_num_threads(threads)


def taken(panel: Panel, x: Tensor) -> None:
    panel.add(x)
    panel.clear()


def reductions(x: Tensor) -> tuple[float, ...]:
    """What one would write by hand for the same numbers, without the counts of NaNs, infinities and subnormals."""
    return x.mean().item(), x.norm().item(), x.abs().max().item(), float((x == 0).sum()), float(x.isfinite().all())


def example(size: int, dtype: torch.dtype, kind: str = "normal") -> Tensor:
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    if kind == "half zeros":
        x = x.relu()
    if kind == "1e-25":
        x = x * 1e-25
    return x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("path", [statistics, by_torch, reductions], ids=["kernel", "torch path", "by hand"])
def test_a_million_values(benchmark, path, dtype):
    benchmark(path, example(1 << 20, dtype))


def test_statistics(benchmark):
    def row(size: int, dtype: torch.dtype, kind: str) -> str:
        x, panel = example(size, dtype, kind), Panel()
        out = torch.empty_like(x)
        found = compared(
            size, [lambda: taken(panel, x), lambda: out.copy_(x), lambda: reductions(x), lambda: by_torch(x)]
        )
        name = str(dtype).removeprefix("torch.")
        return f"| {name} | {size:,} | {kind} | {found} | {x.nbytes / found.first / 1e3:.0f} GB/s |"

    kinds = {dtype: ["normal"] for dtype in DTYPES} | {torch.float32: ["normal", "half zeros", "1e-25"]}
    show(
        benchmark,
        "dtype | values | kind | panel.add | copy | by hand | torch path | copy / add | by hand / add | torch / add | "
        "rate",
        lambda: [row(size, dtype, kind) for dtype in DTYPES for kind in kinds[dtype] for size in SIZES],
    )


def test_differences(benchmark):
    def row(size: int, dtype: torch.dtype) -> str:
        before, panel = example(size, dtype), Panel()
        after = (before * 1.01).to(dtype)

        def difference() -> None:
            panel.add_difference(after, before)
            panel.clear()

        found = compared(size, [difference, lambda: statistics(after - before), lambda: reductions(after - before)])
        return f"| {str(dtype).removeprefix('torch.')} | {size:,} | {found} |"

    show(
        benchmark,
        "dtype | values | panel.add_difference | statistics(a - b) | by hand | statistics / add | by hand / add",
        lambda: [row(size, dtype) for dtype in (torch.float32, torch.bfloat16) for size in SIZES],
    )


def test_slopes(benchmark):
    def row(name: str, parameters: tuple[float, ...], size: int) -> str:
        x = example(size, torch.float32).view(-1, 256)
        out = torch.empty_like(x)
        paths = [
            lambda: slope_statistics(name, parameters, x, 0.05),
            lambda: pointwise.slope(name, parameters, x, out),
            lambda: slopes_by_torch(pointwise.slope(name, parameters, x), 0.05).mean,
        ]
        return f"| {name} | {size:,} | {compared(size, paths)} |"

    names = {"relu": (), "tanh": (), "swish": (1.0,), "gelu": ()}
    show(
        benchmark,
        "function | values | slope statistics | f′ alone | torch path | f′ alone / statistics | torch / statistics",
        lambda: [row(name, parameters, size) for name, parameters in names.items() for size in SIZES[1:]],
    )


def test_cost_of_a_call(benchmark):
    """What is left where there is next to nothing to read."""
    x, panel = torch.randn(8), Panel()
    parameters, many = nn.ParameterList([nn.Parameter(x.clone()) for _ in range(100)]), []

    def at_once() -> None:
        panel.add_many(many)
        panel.clear()

    def rows() -> list[str]:
        many[:] = list(parameters)
        calls = {
            "panel.add": (lambda: taken(panel, x), 1),
            "panel.add_many, a tensor": (at_once, 100),
            "statistics": (lambda: statistics(x), 1),
            "x.norm().item()": (lambda: x.norm().item(), 1),
        }
        spent = {name: compared(1, [call]).first / many_ for name, (call, many_) in calls.items()}
        return [f"| {name} | {t:.2f} µs |" for name, t in spent.items()]

    show(benchmark, "call | 8 values", rows)


class Times:
    """Medians in µs, and what the others take as multiples of the first, by the median ratio of a round."""

    def __init__(self, rounds: list[list[float]]) -> None:
        self._rounds = rounds
        self.first = min(r[0] for r in rounds)
        """The fastest."""

    def __str__(self) -> str:
        columns = list(zip(*self._rounds, strict=True))
        shown = [f"{sample.median(c):,.1f} µs" for c in columns]
        shown += [f"{sample.median(r[k] / r[0] for r in self._rounds):.1f}" for k in range(1, len(columns))]
        return " | ".join(shown)


def compared(size: int, paths: list[Callable[[], object]]) -> Times:
    """Interleaved, so that whatever else the machine does meets all alike."""
    repeats = max(1, (1 << 16) // size)
    return Times([[microseconds(path, repeats) for path in paths] for _ in range(ROUNDS)])


def microseconds(path: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        path()
    return (time.perf_counter() - start) / repeats * 1e6


def show(benchmark, header: str, rows: Callable[[], list[str]]) -> None:
    lines = benchmark.pedantic(rows, rounds=1)
    print(f"\n| {header} |", "|---" * (header.count("|") + 1) + "|", *lines, sep="\n")
