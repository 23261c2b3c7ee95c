"""Write docs/accuracy.md: the largest error of each function, dtype and derivative, ours beside torch's."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "activations"))  # one measure for the tests and for the table

from measure import Reference, in_ulps, patterns, reference  # noqa: E402 # pyright: ignore[reportMissingImports]
from truth import truths  # noqa: E402 # pyright: ignore[reportMissingImports]

from undertow.activations import Pointwise, activation, names  # noqa: E402

PEERS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "exponential": torch.exp,
    "arctan": torch.atan,
    "erf": torch.erf,
    "sin": torch.sin,
}
DTYPES = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
STRIDES = {torch.float32: 40_009, torch.bfloat16: 1, torch.float16: 1}
PRIMES = "f", "f′", "f″"
# where the reference is held against mpmath
CHECKED = (
    -700.0,
    -88.1,
    -30.0,
    -9.3,
    -4.1,
    -1.3,
    -0.76,
    -0.2,
    -1e-3,
    -1e-9,
    1e-30,
    1e-5,
    0.02,
    0.5,
    1.2,
    2.9,
    8.0,
    25.0,
)


class Worst(NamedTuple):
    """The largest error in ulp and where it is; NaN where there is no such derivative."""

    ulps: float
    x: float

    def __str__(self) -> str:
        if math.isnan(self.ulps):
            return "none"
        size = "NaN or ∞" if math.isinf(self.ulps) else f"{self.ulps:.2f}" if self.ulps < 1e4 else f"{self.ulps:.0e}"
        return f"{size} at {self.x:.4g}" if self.ulps else "0"


class Row(NamedTuple):
    """One function in one dtype: f, f′ and f″, ours and torch's."""

    name: str
    dtype: str
    ours: list[Worst]
    torchs: list[Worst] | None

    @property
    def rank(self) -> tuple[float, float]:
        theirs = [w.ulps for w in self.torchs or [] if not math.isnan(w.ulps)]
        return -round(max(w.ulps for w in self.ours), 1), -max(theirs, default=-1.0)


def points(dtype: torch.dtype) -> Tensor:
    """Finite numbers: by bit pattern over the whole range, and evenly where most things happen."""
    if dtype == torch.float64:
        steps = torch.randint(-(2**63), 2**63 - 1, (20_000,), generator=torch.Generator().manual_seed(0))
        spread = steps.view(torch.float64)
        spread = spread[spread.isfinite()]
    else:
        spread = patterns(dtype, STRIDES[dtype])
    if dtype.itemsize > 2:
        spread = torch.cat([spread, torch.linspace(-12, 12, 20_001, dtype=dtype)])
        spread = torch.cat([spread, torch.linspace(-110, 90, 20_001, dtype=dtype)])
    return spread


def worst(got: Tensor | None, true: Reference, x: Tensor) -> Worst:
    """Where the true result is a normal number (or 0, or too large), the largest error."""
    if got is None:
        return Worst(math.nan, math.nan)
    size = true.hi.abs()
    counted = (size >= torch.finfo(x.dtype).tiny) | (size == 0)
    ulps = torch.where(counted, in_ulps(got.detach(), true), 0.0)
    i = int(ulps.argmax())
    return Worst(ulps[i].item(), x[i].item())


def by_autograd(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor | None]:
    """f, f′ and f″ as torch differentiates it, None where it can't."""
    x = x.clone().requires_grad_()
    rungs: list[Tensor | None] = [function(x)]
    for _ in range(2):
        y = rungs[-1]
        try:
            rungs.append(None if y is None else torch.autograd.grad(y.sum(), x, create_graph=True)[0])
        except RuntimeError:  # no derivative is defined, or y no longer depends on x
            rungs.append(None)
    return rungs


def rows_of(name: str) -> tuple[list[Row], float]:
    """The rows of a function, and how far its 106-bit reference is from mpmath in ulp of float64."""
    torch.set_num_threads(1)
    act = activation(name)
    assert isinstance(act, Pointwise)
    rows = []
    for dtype, label in DTYPES.items():
        x = points(dtype)
        true = [reference(act, order, x.double()) for order in range(3)]
        ours = [worst(f(x), t, x) for f, t in zip((act, act.derivative, act.second_derivative), true, strict=True)]
        peer = PEERS.get(name)
        theirs = peer and [worst(y, t, x) for y, t in zip(by_autograd(peer, x), true, strict=True)]
        rows.append(Row(name, label, ours, theirs))
    return rows, _reference_error(act)


def _reference_error(act: Pointwise) -> float:
    x = torch.tensor(CHECKED, dtype=torch.float64)
    truth = [truths(act, v) for v in CHECKED]
    errors = [0.0]
    for order in range(3):
        true = reference(act, order, x)
        for hi, lo, t in zip(true.hi.tolist(), true.lo.tolist(), (row[order] for row in truth), strict=True):
            if abs(t) > 1e-290:  # further down there is no room for the 106 bits
                errors.append(float(abs((t - hi) - lo) / abs(t)) * 2.0**52)
    return max(errors)


def page(rows: list[Row], reference_error: float) -> str:
    rows = sorted(rows, key=lambda row: row.rank)
    head = ["function", "dtype", *(h for p in PRIMES for h in (p, f"{p}, torch"))]
    table = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        theirs = row.torchs or ["" for _ in PRIMES]
        cells = [str(c) for pair in zip(row.ours, theirs, strict=True) for c in pair]
        table.append(f"| `{row.name}` | {row.dtype} | {' | '.join(cells)} |")
    largest = {label: max(w.ulps for r in rows if r.dtype == label for w in r.ours) for label in DTYPES.values()}
    summary = ", ".join(f"{label} {value:.2f}" for label, value in largest.items())
    return f"""# Accuracy

The largest error of every pointwise function, in units of the last place (ulp) of the true value, and the x where it
is; worst rows first. Largest of all: {summary} ulp.

Written by `make accuracy` on {date.today()} with torch {torch.__version__}, {platform.machine()}. Points: in bf16 and
f16 all finite numbers; in f32 every {STRIDES[torch.float32]:,}th bit pattern and 40,000 numbers from −110 to 90; in f64
20,000 random bit patterns and the same 40,000. Counted are the points where the true result is a normal number, 0, or
beyond the largest one; near a zero of f′, within a quarter of x, an ulp is that of |x f″(x)|, for both libraries.
"NaN or ∞" is a result that is not finite where the true one is; "none" a derivative that torch doesn't have. f′ and f″
of torch are its autograd's.

The reference is the definition itself in numbers of 106 bits, here at most {reference_error:.0e} ulp of float64 away
from mpmath at {len(CHECKED)} points of each function.

{chr(10).join(table)}
"""


def main() -> None:
    pointwise = [name for name in names() if isinstance(activation(name), Pointwise)]
    rows, errors = [], []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for found, error in pool.map(rows_of, pointwise):
            rows += found
            errors.append(error)
    path = ROOT / "docs" / "accuracy.md"
    path.write_text(page(rows, max(errors)), encoding="utf-8")
    print(f"{path}: {len(rows)} rows; the worst:")
    for row in sorted(rows, key=lambda row: row.rank)[:8]:
        print(f"  {row.name} {row.dtype}: {', '.join(str(w) for w in row.ours)}")


if __name__ == "__main__":
    main()
