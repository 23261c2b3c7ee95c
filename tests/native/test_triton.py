"""Kernels written from the definitions, in Triton's interpreter: no GPU is needed, and none is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from undertow.activations import activation
from undertow.native import triton
from undertow.native.triton.launch import BLOCK, OPTIONS, compiled

pytest.importorskip("triton")
SCRIPT = Path(__file__).with_name("interpreted.py")
SCALED = {"float32": 8.0, "float16": 0.51, "bfloat16": 1.01}
"""Error allowed to every function, in ulp of the true value or of the function's size on [−1, 1].

A formula that cancels may lose more, if torch's own float32 operations lose half as much.
The interpreter cuts bfloat16 off where a GPU rounds it.
"""
RELATIVE = {
    "relu": 0.0,
    "leaky_relu": 1.0,
    "relu_squared": 0.51,
    "sigmoid": 3.0,
    "tanh": 3.0,
    "swish": 4.0,
    "mish": 4.0,
    "softplus": 2.0,
    "logsigmoid": 2.0,
    "elu": 1.5,
    "celu": 1.5,
    "selu": 2.0,
    "hardswish": 2.0,
    "hardsigmoid": 1.5,
    "softsign": 2.0,
}
"""The value of the hot functions in float32, in ulp of the true value everywhere, tails included."""


def rows(dtype, *names):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, dtype, *names],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.slow
def test_every_definition_has_kernels_that_are_right_in_the_interpreter():
    table = rows("float32")
    judge(table, "float32")
    values = {row["name"]: row["ulp"] for row in table if row["what"] == "f"}
    assert {name: values[name] for name, most in RELATIVE.items() if not values[name] <= most} == {}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_kernels_read_and_write_16_bits(dtype):
    judge(rows(dtype, "relu", "swish", "gelu", "mish"), dtype)


def judge(table, dtype):
    assert {"relu", "swish", "gelu", "mish"} <= {row["name"] for row in table}
    assert [row for row in table if "ulp" not in row] == []  # an operation that no kernel has
    assert [row for row in table if not row["scaled"] <= max(SCALED[dtype], 2 * row["torch"])] == []
    assert [row for row in table if row["unlike"]] == []  # NaN or infinity where the truth and torch have none


def test_kernels_take_memory_in_any_order():
    assert rows("layouts") == []


def test_what_two_functions_share_is_computed_once():
    gelu = activation("gelu")
    both, value = triton.generate(gelu.f, gelu.df), triton.generate(gelu.f)
    assert both.count("erfc(") == value.count("erfc(") == 1
    assert "y1_at" in both
    assert "y1_at" not in value


def test_a_backward_kernel_reads_g_once_and_multiplies():
    source = triton.generate(activation("swish").df, times=True)
    assert source.count("tl.load(g_at") == source.count("g * (") == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean(),
        lambda x: x + torch.rand_like(x),
        lambda x: x.double().sin().float(),
        lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        lambda x: torch.softmax(x, 0),
        lambda x: x**0.3,
    ],
    ids=["mean", "random", "float64", "a tensor of numbers", "softmax", "fractional power"],
)
def test_what_no_kernel_can_compute_is_unsupported(function):
    with pytest.raises(triton.Unsupported):
        triton.generate(function)


def test_a_tensor_on_the_cpu_is_left_to_the_cpu():
    assert not triton.takes(torch.ones(3))


def machine_code(source, dtype):
    """The kernel as compiled for an H200 (sm_90), which needs no GPU."""
    from triton import compile as compiled_for
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = compiled(source)
    constants = {"BLOCK": BLOCK, "FAST": dtype != "fp32"}
    pointers = {name: f"*{dtype}" for name in kernel.arg_names if name.endswith("_at")}
    signature = {**pointers, "count": "i64", **dict.fromkeys(constants, "constexpr")}
    return compiled_for(ASTSource(kernel, signature, constants), GPUTarget("cuda", 90, 32), OPTIONS).asm


ALL_HOT = [pytest.param(name, marks=pytest.mark.slow) for name in ("gelu", *RELATIVE) if name != "swish"]


@pytest.mark.parametrize("name", ["swish", *ALL_HOT])
def test_kernels_compile_for_a_real_gpu(name, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    act = activation(name)
    for source in (triton.generate(act.f), triton.generate(act.df, times=True)):
        for dtype in ("fp32", "bf16"):
            assert machine_code(source, dtype)["cubin"]


def test_subnormal_numbers_survive_on_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert "ex2.approx.ftz" not in machine_code(triton.generate(torch.exp), "fp32")["ptx"]
    assert "ex2.approx.ftz" not in machine_code(triton.generate(torch.exp), "bf16")["ptx"]
