"""Kernels from their sources, run on tensors."""

from __future__ import annotations

import linecache
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32})
BLOCK = 1024
"""Elements of one program: 8 in each of 128 threads, so that 16-bit loads are 16 bytes wide."""

OPTIONS = {"enable_fp_fusion": True}
"""a · b + c in one instruction; no trick of `mathematics` needs it apart."""


@cache
def available() -> bool:
    """Whether triton is installed."""
    return find_spec("triton") is not None


def takes(x: Tensor) -> bool:
    """Whether a kernel can run on this tensor."""
    return x.is_cuda and x.dtype in DTYPES and x.layout is torch.strided and available()


@cache
def compiled(source: str) -> Any:
    """The kernel of a generated module, compiled by Triton for each dtype at its first call."""
    name = f"<undertow kernel {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)  # where Triton reads it
    module: dict[str, Any] = {"__name__": name}
    exec(compile(source, name, "exec"), module)
    return module["kernel"]


def launch(source: str, x: Tensor, g: Tensor | None = None, outputs: int = 1, block: int = BLOCK) -> tuple[Tensor, ...]:
    """The results of a generated kernel, in the dtype, shape and memory order of x; g has the shape of x."""
    if torch.empty_like(x).stride() != x.stride():  # with gaps, or with elements that share memory
        x = x.contiguous()
    ys = tuple(torch.empty_like(x) for _ in range(outputs))
    read = [x] if g is None else [x, g if g.stride() == x.stride() else torch.empty_like(x, dtype=g.dtype).copy_(g)]
    if x.numel():
        with torch.cuda.device_of(x):
            grid, fast = (-(-x.numel() // block),), x.dtype.itemsize == 2
            compiled(source)[grid](*read, *ys, x.numel(), BLOCK=block, FAST=fast, **OPTIONS)
    return ys
