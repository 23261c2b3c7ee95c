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
    """Errors in ulp: of the true value, and of the function's size on [−1, 1] where this is larger, ours and torch's.

    torch computes the same formula in float32.
    """
    source = source_of(act, order, g is not None)
    if source is None:
        return {"supported": False}
    formula = (act.f, act.df, act.d2f)[order]
    factor, by_torch = formula(x.double()), formula(x.float())
    true, plain = (factor, by_torch) if g is None else (factor * g.double(), by_torch * g.float())
    y, plain = triton.launch(source, x, g, block=WHOLE)[0], plain.to(x.dtype)
    fits = factor.to(x.dtype).isfinite() & true.to(x.dtype).isfinite()  # 2x · g: the factor alone may overflow
    counts = fits & normal(x) & normal(true.to(x.dtype)) if x.dtype == torch.bfloat16 else fits
    around = torch.where(counts, true.abs(), 0.0)[x.abs() <= 1].max()
    own, scaled = errors(y, true, counts), errors(y, true, counts, around)
    ours, theirs = unlike(y, factor, true, fits), unlike(plain, factor, true, fits)
    at = int(own.argmax())
    return {
        "ulp": own[at].item(),
        "at": x[at].item(),
        "scaled": scaled.max().item(),
        "torch": errors(plain, true, counts, around).max().item(),
        "unlike": x[ours & ~theirs].tolist(),
    }


def unlike(y, factor, true, fits):
    """Where y is NaN or infinite and the truth is not, or the reverse."""
    return (y.isnan() != factor.isnan()) | (fits & ~y.isfinite()) | (factor.isinf() & (y != true))


def errors(y, true, counts, around=0.0):
    """|y − true| in ulp of the true value or of `around`, if this is larger."""
    counts = counts & y.isfinite()
    size = torch.where(counts, true.abs(), 1.0).clamp(min=max(float(around), torch.finfo(y.dtype).tiny))
    ulp = torch.exp2(torch.floor(torch.log2(size)) - BITS[y.dtype])
    return torch.where(counts, (y.double() - true).abs(), 0.0) / ulp


def normal(x):
    """The interpreter takes subnormal numbers of bfloat16 for 0."""
    return (x == 0) | (x.abs() >= torch.finfo(x.dtype).tiny)


def main(dtype, chosen):
    np.seterr(all="ignore")  # the interpreter computes in numpy
    torch.set_num_threads(1)
    x = points(dtype)
    g = torch.linspace(0.5, 2.0, x.numel()).to(dtype)
    for name in chosen or names():
        act = activation(name)
        if isinstance(act, Pointwise) and not act.tensors:
            rows = {"f": judged(act, 0, x), "g f′": judged(act, 1, x, g)}
            if chosen:
                rows["f″"] = judged(act, 2, x)
            for what, row in rows.items():
                print(json.dumps({"name": name, "what": what, **row}))


def layouts():
    """Nothing printed where each result is g · f′(x), in the memory order of x where that has no gaps."""
    act = activation("swish")
    source = source_of(act, 1, True)
    g = torch.linspace(-1, 1, 3000).reshape(50, 60)
    whole = torch.linspace(-4, 4, 6000).reshape(50, 60, 2)
    turned = whole[..., 0].t().contiguous().t()
    for x in (whole[..., 0].contiguous(), whole[..., 0], turned, whole[:1, :, 0].expand(50, 60), whole[:0, :, 0]):
        upstream = g[: x.shape[0]]
        (y,) = triton.launch(source, x, upstream)
        torch.testing.assert_close(y, (upstream.double() * act.df(x.double())).float(), rtol=1e-6, atol=1e-6)
    assert triton.launch(source, turned, g)[0].stride() == turned.stride()


if __name__ == "__main__":
    layouts() if sys.argv[1] == "layouts" else main(getattr(torch, sys.argv[1]), sys.argv[2:])
