"""Run in a process of its own, with TRITON_INTERPRET=1: the device's sums beside the kernel's statistics."""

import math

import torch

from undertow.native import panel, statistics, triton
from undertow.native.device import DeviceRows


def examples():
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for size in (1, 4096, 9001):
            for scale in (1.0, 1e-25, 1e-42, 1e30):
                x = (torch.randn(size) * scale).to(dtype)
                x[1::3] = 0
                if size > 4096:
                    x[5], x[6], x[7] = math.nan, math.inf, -math.inf
                yield x


def main():
    tensors, rows = list(examples()), DeviceRows(torch.device("cpu"))
    table = torch.full((len(tensors), panel.FIELDS), math.nan, dtype=torch.float64)
    triton.takes = lambda x: x.dtype in triton.DTYPES
    for slot, x in enumerate(tensors):
        rows.add(slot, x)
    for arrive in rows.sent():
        arrive(table)
    assert rows.sent() == []
    for x, found in zip(tensors, table.tolist(), strict=True):
        expected = statistics(x)
        assert found[3:] == list(map(float, expected[3:])) or math.isnan(expected.max), (found, expected)
        assert abs(found[1] - expected.mean) <= 1e-6 * expected.rms or math.isnan(expected.mean), (found, expected)
        assert abs(found[2] - expected.rms) <= 1e-6 * expected.rms or math.isnan(expected.rms), (found, expected)
    print(len(tensors), "alike")


if __name__ == "__main__":
    main()
