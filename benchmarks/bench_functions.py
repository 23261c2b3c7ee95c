"""f, f′, both and the backward pass: the kernels, torch writing into a buffer, torch.compile, jax, and a plain copy.

Every number is a ratio of the fastest of many interleaved calls in one run, into buffers that are there: a fresh output
of 40 MB costs more in page faults than any of the mathematics.  `make bench` prints the tables, the targets in the last
column; a machine that does other work beside gives no ratios worth keeping.
"""

import time
from collections.abc import Callable
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.native import available, pointwise

aten = torch.ops.aten
Path = Callable[[], object]

PARAMETERS = {"swish": (1.0,), "softplus": (1.0,), "elu": (1.0,), "leaky_relu": (0.01,)}
FORWARD = {
    "relu": lambda x, y: torch.clamp_min(x, 0, out=y),
    "sigmoid": lambda x, y: torch.sigmoid(x, out=y),
    "swish": lambda x, y: aten.silu.out(x, out=y),
    "gelu": lambda x, y: aten.gelu.out(x, out=y),
    "tanh": lambda x, y: torch.tanh(x, out=y),
    "mish": lambda x, y: aten.mish.out(x, out=y),
    "elu": lambda x, y: aten.elu.out(x, out=y),
    "softplus": lambda x, y: aten.softplus.out(x, out=y),
}
BACKWARD = {
    "relu": lambda g, x, y: aten.threshold_backward(g, y, 0),
    "sigmoid": lambda g, x, y: aten.sigmoid_backward(g, y),
    "swish": lambda g, x, y: aten.silu_backward(g, x),
    "gelu": lambda g, x, y: aten.gelu_backward(g, x),
    "tanh": lambda g, x, y: aten.tanh_backward(g, y),
    "mish": lambda g, x, y: aten.mish_backward(g, x),
    "elu": lambda g, x, y: aten.elu_backward(g, 1, 1, 1, False, x),
    "softplus": lambda g, x, y: aten.softplus_backward(g, x, 1, 20),
}
EAGER = {
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "swish": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "mish": F.mish,
    "elu": F.elu,
    "softplus": F.softplus,
}
# Targets of the project at ten million float32: share of copy bandwidth, times torch, cost of f and f′ in copies.
TARGETS = {
    "relu": (0.85, 0, 1.6),
    "sigmoid": (0.85, 0, 1.6),
    "swish": (0.85, 1, 1.6),
    "gelu": (0.70, 1, 1.6),
    "tanh": (0.70, 3, 1.6),
    "mish": (0.70, 6, 1.6),
    "elu": (0.70, 3, 1.6),
    "softplus": (0.60, 1.5, 2.0),
}


def fastest(paths: dict[str, Path], seconds: float = 0.5) -> dict[str, float]:
    """Seconds a call of each, run in turn so that whatever else the machine does meets all alike."""
    for path in paths.values():
        path()
    start = time.perf_counter()
    for path in paths.values():
        path()
    once = (time.perf_counter() - start) / len(paths)
    repeats = max(1, int(2e-4 / once))
    rounds = max(15, min(201, int(seconds / (once * len(paths) * repeats))))
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, path in paths.items():
            start = time.perf_counter()
            for _ in range(repeats):
                path()
            times[name].append((time.perf_counter() - start) / repeats)
    return {name: min(column) for name, column in times.items()}


def example(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(dtype)


def by_jax(name: str, x: Tensor) -> dict[str, Path]:
    """jax's compiled function of the same name, where jax is installed; its output is always a fresh one."""
    try:
        jax = import_module("jax")
    except ImportError:
        return {}
    function = jax.jit(jax.numpy.tanh if name == "tanh" else getattr(jax.nn, name))
    array = jax.numpy.asarray(x.numpy())
    return {"jax": lambda: function(array).block_until_ready()}


def times(name: str, size: int) -> dict[str, float]:
    x, g = example(size), example(size)
    y, d, parameters = torch.empty_like(x), torch.empty_like(x), PARAMETERS.get(name, ())
    paths: dict[str, Path] = {
        "copy": lambda: y.copy_(x),
        "f": lambda: pointwise.value(name, parameters, x, out=y),
        "f′": lambda: pointwise.slope(name, parameters, x, out=y),
        "both": lambda: pointwise.both(name, parameters, x, out=(y, d)),
        "torch": lambda: FORWARD[name](x, y),
    }
    if size <= 100_000:  # with fresh outputs, as training has them; larger ones measure page faults
        paths["train"] = lambda: (
            pointwise.value(name, parameters, x),
            pointwise.times_slope(name, parameters, x, g),
        )
        paths["torch train"] = lambda: BACKWARD[name](g, x, EAGER[name](x))
    return fastest(paths | by_jax(name, x))


def held(true: bool) -> str:
    return "held" if true else "not held"


def row(name: str, size: int) -> str:
    t = times(name, size)
    against_jax = f"{t['jax'] / t['f']:.2f}" if "jax" in t else "no jax"
    copies = [f"{t['copy'] / t['f']:.0%}", f"{t['copy'] / t['f′']:.0%}", f"{t['both'] / t['copy']:.2f}"]
    fields = [name, f"{size:,}", f"{t['f'] * 1e6:,.1f} µs", *copies, f"{t['torch'] / t['f']:.2f}", against_jax]
    if size > 100_000:
        share, faster, both = TARGETS[name]
        verdicts = [
            f"{share:.0%} of copy: {held(t['copy'] / t['f'] >= share)}",
            f"both in {both} copies: {held(t['both'] / t['copy'] <= both)}",
        ]
        if faster:
            verdicts.append(f"torch × {faster}: {held(t['torch'] / t['f'] >= faster)}")
        return "| " + " | ".join([*fields, "", "; ".join(verdicts)]) + " |"
    train = t["torch train"] / t["train"]
    if size == 100_000:
        verdict = f"training × {4 if name == 'mish' else 1}: {held(train >= (4 if name == 'mish' else 1))}"
    else:
        verdict = f"at most 5 % slower than torch: {held(t['f'] <= 1.05 * t['torch'])}"
    return "| " + " | ".join([*fields, f"{train:.2f}", verdict]) + " |"


def compiled_row(name: str) -> str:
    """torch.compile, which writes fresh outputs: against a fresh output of the kernel, at a size below page faults."""
    x, parameters = example(100_000), PARAMETERS.get(name, ())
    function = torch.compile(EAGER[name])
    t = fastest({"f": lambda: pointwise.value(name, parameters, x), "compile": lambda: function(x)})
    return f"| {name} | {t['compile'] / t['f']:.2f} |"


def row_of_16_bits(size: int) -> str:
    x, g = example(size, torch.bfloat16), example(size, torch.bfloat16)
    y = torch.empty_like(x)
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    table, slopes = F.silu(every), every.float()  # what is in a table doesn't change its speed
    paths: dict[str, Path] = {
        "copy": lambda: y.copy_(x),
        "f": lambda: pointwise.lookup(table, x, out=y),
        "g·f′": lambda: pointwise.lookup_times(slopes, x, g, out=y),
    }
    t = fastest(paths | {name: lambda f=f: f(x, y) for name, f in FORWARD.items()})
    ratios = " | ".join(f"{t[name] / t['f']:.2f}" for name in FORWARD)
    return (
        f"| {size:,} | {t['f'] / size * 1e9:.3f} | {t['g·f′'] / size * 1e9:.3f} | {t['copy'] / t['f']:.0%} | {ratios} |"
    )


def table(head: list[str], rows: list[str]) -> None:
    print("", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows, sep="\n")


@pytest.fixture(autouse=True)
def built():
    assert available(), "benchmark the kernels where they are built"


def test_float32(benchmark):
    sizes = (10_000_000, 100_000, 1000)
    rows = benchmark.pedantic(lambda: [row(name, size) for size in sizes for name in FORWARD], rounds=1)
    print(f"\n{pointwise.isa()}, {torch.get_num_threads()} threads")
    head = [
        "function",
        "values",
        "f",
        "copy / f",
        "copy / f′",
        "both / copy",
        "torch / f",
        "jax / f",
        "training",
        "targets",
    ]
    table(head, rows)


def test_bfloat16(benchmark):
    rows = benchmark.pedantic(lambda: [row_of_16_bits(size) for size in (10_000_000, 100_000, 1000)], rounds=1)
    table(["values", "f, ns", "g·f′, ns", "copy / f", *(f"torch {name} / f" for name in FORWARD)], rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_compiled(benchmark):
    rows = benchmark.pedantic(lambda: [compiled_row(name) for name in FORWARD], rounds=1)
    table(["function, 100,000 values", "torch.compile / f"], rows)
