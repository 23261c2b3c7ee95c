"""The two rows that are no comparison of sites: where the gradient becomes exactly 0, and how long a forecast takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch
from benchmarks.forecast_accuracy import networks as n
from benchmarks.forecast_accuracy.rows import Got, Line
from torch import Tensor, nn

import undertow as ut

WIDTH, BATCH = 256, 16
DEEP = {  # (activation, dtype): layers enough for its gradient to end in
    ("sigmoid", torch.float32): 70,
    ("silu", torch.float32): 110,
    ("relu", torch.float32): 150,
    ("tanh", torch.float32): 240,
    ("sigmoid", torch.float16): 20,
    ("silu", torch.float16): 30,
    ("relu", torch.float16): 40,
    ("tanh", torch.float16): 60,
}


def layers_until_zero(model: nn.Sequential, given: Tensor, cotangent: Tensor) -> int | None:
    """The first Linear layer from the end whose pre-activations all have a gradient of exactly 0; None: there is none.

    The last layer is 1.
    """
    passed: list[Tensor] = []
    x = given
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear):
            passed.append(x)
    for count, gradient in enumerate(reversed(torch.autograd.grad(x, passed, cotangent)), 1):
        if not gradient.any():
            return count
    return None


def underflow(seeds: int) -> Iterator[Line]:
    """torch's default weights, all in one format, for a cotangent of standard normal numbers."""
    for (act, dtype), depth in DEEP.items():
        measured, expected = [], []
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = n.plain(act, "default", WIDTH, depth)
            given, cotangent = torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)
            expected.append(ut.forecast(model, given).underflow_depth[dtype])
            found = layers_until_zero(model.to(dtype), given.to(dtype), cotangent.to(dtype))
            assert found is not None, f"{act} in {dtype} needs more than {depth} layers"
            measured.append(found)
        truth, theory = statistics.median(measured), statistics.median(expected)
        off = Got("layers off", abs(theory - truth), max(2.0, 0.03 * truth), "")
        name = f"{act}, {str(dtype).removeprefix('torch.')}"
        yield Line("underflow", name, seeds, (off,), note=f"forecast {theory:g}, measured {truth:g}")


def times(rounds: int, wide: int) -> Iterator[Line]:
    """Of the processor, which is the time where nothing else runs; the median after a first call, which sets up what
    is made once a process."""
    mlp = n.plain("gelu", "default", 512, 50), torch.randn(16, 512)
    yield Line("time", "MLP, 50 layers of 512", rounds, (Got("time", seconds(*mlp, rounds) * 1e3, 50, " ms"),))
    blocks = n.transformer(wide, 24, 0.02), torch.randn(2, 128, wide)
    milliseconds = seconds(*blocks, rounds) * 1e3
    yield Line("time", f"transformer, 24 blocks of {wide}", rounds, (Got("time", milliseconds, 1000, " ms"),))


def seconds(model: nn.Module, given: Tensor, rounds: int) -> float:
    taken: list[float] = []
    for _ in range(rounds + 1):
        start = time.process_time()
        _ = ut.forecast(model, given).end_to_end
        taken.append(time.process_time() - start)
    return statistics.median(taken[1:])
