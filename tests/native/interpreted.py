"""Run in a process of its own, with TRITON_INTERPRET=1 set before triton is imported; prints one JSON object a line.

python interpreted.py DTYPE [NAME ...]       every definition's f, f′, f″ and backward pass against float64
"""

import json
import sys

import numpy as np
import torch

from undertow.activations import activation, names
from undertow.activations.base import Pointwise
from undertow.activations.gpu import source_of
from undertow.native import triton

WHOLE = 1 << 16
"""Elements of one block: the interpreter takes as long for a large one as for a small one."""
BITS = {torch.float32: 23, torch.bfloat16: 7, torch.float16: 10}


def points(dtype):
    """The whole range by bit pattern, the middle densely, and the numbers that go wrong first."""
    generator = torch.Generator().manual_seed(0)
    if dtype.itemsize == 2:
        return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    patterns = torch.randint(-(2**31), 2**31 - 1, (4000,), generator=generator).to(torch.int32).view(torch.float32)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38]
    return torch.cat([patterns, torch.linspace(-110, 110, 4001), torch.linspace(-6, 6, 6001), torch.tensor(special)])


def judged(act, order, x, g=None):
    """|error| in ulp of the true value, and in ulp of that or of the function's size on [−1, 1], if this is larger."""
    source = source_of(act, order, g is not None)
    if source is None:
        return {"supported": False}
    y = triton.launch(source, x, g, block=WHOLE)[0]
    factor = (act.f, act.df, act.d2f)[order](x.double())
    true = factor if g is None else factor * g.double()
    fits = factor.to(x.dtype).isfinite() & true.to(x.dtype).isfinite()  # 2x · g: the factor alone may overflow
    counts = fits & y.isfinite() & (normal(x) & normal(true.to(x.dtype)) if x.dtype == torch.bfloat16 else True)
    error, size = torch.where(counts, (y.double() - true).abs(), 0.0), torch.where(counts, true.abs(), 1.0)
    around = size[x.abs() <= 1].max()
    own, scaled = error / ulp(size, x.dtype), error / ulp(torch.maximum(size, around), x.dtype)
    unlike = (y.isnan() != factor.isnan()) | (fits & ~y.isfinite()) | (factor.isinf() & (y != true))
    worst = int(own.argmax())
    return {
        "ulp": float(own[worst]),
        "at": float(x[worst]),
        "scaled": float(scaled.max()),
        "unlike": x[unlike].tolist(),
    }


def normal(x):
    """The interpreter takes subnormal numbers of bfloat16 for 0."""
    return (x == 0) | (x.abs() >= torch.finfo(x.dtype).tiny)


def ulp(size, dtype):
    return torch.exp2(torch.floor(torch.log2(size.clamp(min=torch.finfo(dtype).tiny))) - BITS[dtype])


def main(dtype, chosen):
    np.seterr(all="ignore")  # the interpreter computes in numpy
    torch.set_num_threads(1)
    x = points(dtype)
    g = torch.linspace(0.5, 2.0, x.numel()).to(dtype)
    for name in chosen or names():
        act = activation(name)
        if isinstance(act, Pointwise) and not act.tensors:
            rows = [judged(act, 0, x), judged(act, 1, x, g), judged(act, 2, x)]
            for what, row in zip(("f", "g f′", "f″"), rows, strict=True):
                print(json.dumps({"name": name, "what": what, **row}))


if __name__ == "__main__":
    main(getattr(torch, sys.argv[1]), sys.argv[2:])
