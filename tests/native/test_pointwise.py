"""Kernels of f, f′, both and g·f′ against float64 formulas that lose nothing, mpmath for float64, and exact tables.

Error is counted in units of the last place of the true result.  Near a zero of f′ the unit is that of the function's
scale, 1: no formula in the format's own arithmetic can do better.
"""

import math
import os
import subprocess
import sys
from functools import cache
from threading import Thread

import mpmath
import pytest
import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.native import available, kernels, pointwise

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built here")

ROOT = math.sqrt(2 / math.pi)
SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
TINY = torch.finfo(torch.float32).tiny


def sigmoid(z: Tensor) -> Tensor:
    e = torch.exp(-z.abs())
    return torch.where(z >= 0, 1, e) / (1 + e)


def softplus(z: Tensor) -> Tensor:
    return z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))


def gated(z, zx):
    """x·σ(z(x)) and its slope σ(z)(1 + x z′(x) σ(−z)), where z and x·z′ are given."""

    def f(x):
        near = x.clamp(-1e3, 1e3)
        return torch.where(x > 1e3, x, near * sigmoid(z(near)))

    def df(x):
        x = x.clamp(-1e3, 1e3)
        return sigmoid(z(x)) * (1 + zx(x) * sigmoid(-z(x)))

    return f, df


def exponential(alpha, width=1.0, scale=1.0):
    def f(x):
        return torch.where(x > 0, scale * x, scale * alpha * torch.expm1(x.clamp(max=0) / width))

    def df(x):
        return torch.where(x > 0, scale, scale * alpha / width * torch.exp(x.clamp(max=0) / width))

    return f, df


def gelu(x):
    a = x.abs().clamp(max=38)
    tail = torch.exp(-a * a / 2) * torch.special.erfcx(a / math.sqrt(2)) / 2
    return torch.where(x > 0, x - a * tail, -a * tail)


def gelu_slope(x):
    a = x.abs().clamp(max=38)
    below = torch.exp(-a * a / 2) * (torch.special.erfcx(a / math.sqrt(2)) / 2 - a / math.sqrt(2 * math.pi))
    return torch.where(x > 0, 1 - below, below)


def mish(x):
    e, near = torch.exp(-x.abs()), x.clamp(min=-1e3)
    return torch.where(x >= 0, x * (1 + 2 * e) / (1 + 2 * e + 2 * e * e), near * e * (e + 2) / (e * (e + 2) + 2))


def mish_slope(x):
    x = x.clamp(-1e3, 1e3)
    e = torch.exp(-x.abs())
    d = torch.where(x >= 0, 1 + 2 * e + 2 * e * e, e * (e + 2) + 2)
    above, below = (1 + 2 * e) * d + 4 * x * e * e * (1 + e), e * ((e + 2) * d + 4 * x * (1 + e))
    return torch.where(x >= 0, above, below) / d**2


def tanh_z(x):
    return 2 * ROOT * (x + 0.044715 * x**3)


def tanh_zx(x):
    return 2 * ROOT * (x + 3 * 0.044715 * x**3)


FUNCTIONS = {
    "relu": ((), lambda x: x.clamp(min=0), lambda x: (x > 0).double()),
    "relu_squared": ((), lambda x: x.clamp(min=0) ** 2, lambda x: 2 * x.clamp(min=0)),
    "leaky_relu": ((0.01,), lambda x: torch.where(x > 0, x, 0.01 * x), lambda x: torch.where(x > 0, 1.0, 0.01)),
    "hardsigmoid": ((), lambda x: (x + 3).clamp(0, 6) / 6, lambda x: ((x > -3) & (x <= 3)) / 6.0),
    "hardswish": (
        (),
        lambda x: torch.where(x > 3, x, x.clamp(min=-3) * (x.clamp(-3, 3) + 3) / 6),
        lambda x: torch.where(x > 3, 1.0, (2 * x + 3) / 6 * (x > -3)),
    ),
    "softsign": ((), lambda x: x / (1 + x.abs()), lambda x: 1 / (1 + x.abs()) ** 2),
    "sigmoid": ((), sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "logsigmoid": ((), lambda x: -softplus(-x), lambda x: sigmoid(-x)),
    "softplus": ((1.0,), softplus, sigmoid),
    "softplus, β = 3.3": ((3.3,), lambda x: softplus(3.3 * x) / 3.3, lambda x: sigmoid(3.3 * x)),
    "tanh": ((), torch.tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x)),
    "swish": ((1.0,), *gated(lambda x: x, lambda x: x)),
    "swish, β = 1.3": ((1.3,), *gated(lambda x: 1.3 * x, lambda x: 1.3 * x)),
    "quick_gelu": ((), *gated(lambda x: 1.702 * x, lambda x: 1.702 * x)),
    "gelu_tanh": ((), *gated(tanh_z, tanh_zx)),
    "gelu": ((), gelu, gelu_slope),
    "mish": ((), mish, mish_slope),
    "elu": ((1.0,), *exponential(1.0)),
    "elu, α = 0.7": ((0.7,), *exponential(0.7)),
    "celu, α = 1.3": ((1.3,), *exponential(1.3, 1.3)),
    "selu": ((), *exponential(ALPHA, 1.0, SCALE)),
}
EACH = pytest.mark.parametrize("label", FUNCTIONS)


def kernel_of(label: str) -> str:
    return label.split(",")[0]


@pytest.fixture(params=["all"] if not available() else kernels.module.isas())
def isa(request):
    before = kernels.module.isa()
    kernels.module.choose_isa(request.param)
    yield request.param
    kernels.module.choose_isa(before)


def inputs(step: int) -> Tensor:
    """Every step-th float32 bit pattern of both signs, and as many more where the functions bend."""
    sizes = torch.arange(0, 0x7F800000, step, dtype=torch.int32).view(torch.float32)
    near = torch.Generator().manual_seed(step)
    uniform = torch.rand(len(sizes), generator=near)
    return torch.cat([sizes, -sizes, uniform * 220 - 110, uniform * 16 - 8, torch.randn(len(sizes), generator=near)])


def ulps(found: Tensor, true: Tensor, scale: float) -> Tensor:
    """|found − true| in units of the last place of the true result, subnormal ones those of the smallest normal."""
    info = torch.finfo(found.dtype)
    exponent = torch.frexp(true.abs().clamp(min=info.tiny))[1] - 1
    unit = torch.ldexp(torch.full_like(true, info.eps), exponent)
    return (found.double() - true).abs() / unit.clamp(min=scale * info.eps)


def worst(label: str, x: Tensor) -> tuple[float, float]:
    """The largest errors of f and f′; bits must not depend on whether one or both are asked for."""
    parameters, f, df = FUNCTIONS[label]
    name, exact = kernel_of(label), x.double()
    y, d = pointwise.value(name, parameters, x), pointwise.slope(name, parameters, x)
    both = pointwise.both(name, parameters, x)
    assert torch.equal(both[0], y)
    assert torch.equal(both[1], d)
    errors = []
    for order, (found, true) in enumerate(((y, f(exact)), (d, df(exact)))):
        overflows = true.float().isinf()  # relu² alone
        assert torch.equal(found[overflows].double(), true.float()[overflows].double())
        # f′ crosses 0 between −1.5 and −0.5; there the scale of f′ is the measure
        crosses = (true.abs() < 0.15) & (exact > -2) & (exact < -0.4) if order else torch.zeros_like(overflows)
        error = torch.where(crosses, ulps(found, true, 1.0), ulps(found, true, 0.0))[~overflows]
        assert error.isfinite().all()
        errors.append(error.max().item())
    return errors[0], errors[1]


@EACH
def test_float32_within_two_ulp(label, isa):
    errors = worst(label, inputs(70001 if isa == kernels.module.isas()[0] else 500009))
    assert max(errors) <= 2, (label, isa, errors)


@pytest.mark.slow
@EACH
def test_float32_within_two_ulp_at_every_509th_number(label):
    x = inputs(509)
    errors = [worst(label, part) for part in x.split(1 << 20)]
    assert max(map(max, errors)) <= 2, (label, [max(e) for e in zip(*errors, strict=True)])


@EACH
def test_all_instruction_sets_with_fma_give_the_same_bits(label):
    isas, before = [i for i in kernels.module.isas() if i != "baseline"], kernels.module.isa()
    if len(isas) < 2:
        pytest.skip("one instruction set here")
    results, parameters = [], FUNCTIONS[label][0]
    x = inputs(300007)
    for isa in isas:
        kernels.module.choose_isa(isa)
        results.append(torch.stack(pointwise.both(kernel_of(label), parameters, x)))
    kernels.module.choose_isa(before)
    assert torch.equal(*results[:2])


def m_sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def m_gated(z, zx):
    def df(x):
        return m_sigmoid(z(x)) * (1 + zx(x) * m_sigmoid(-z(x)))

    return lambda x: x * m_sigmoid(z(x)), df


def m_exponential(alpha, width=1, scale=1):
    alpha, width, scale = mpmath.mpf(alpha), mpmath.mpf(width), mpmath.mpf(scale)
    return (
        lambda x: scale * (x if x > 0 else alpha * mpmath.expm1(x / width)),
        lambda x: scale * (1 if x > 0 else alpha / width * mpmath.exp(x / width)),
    )


def m_tanh_z(x):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3)


def m_tanh_zx(x):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (x + 3 * mpmath.mpf(0.044715) * x**3)


def m_phi(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def m_mish(x):
    n = mpmath.exp(x) * (mpmath.exp(x) + 2)
    return x * n / (n + 2)


def m_mish_slope(x):
    e = mpmath.exp(x)
    n = e * (e + 2)
    return n / (n + 2) + 4 * x * e * (e + 1) / (n + 2) ** 2


EXACT = {
    "softsign": ((), lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "hardswish": (
        (),
        lambda x: x * min(max(x + 3, 0), 6) / 6,
        lambda x: 0 if x <= -3 else 1 if x > 3 else (2 * x + 3) / 6,
    ),
    "sigmoid": ((), m_sigmoid, lambda x: m_sigmoid(x) * m_sigmoid(-x)),
    "logsigmoid": ((), lambda x: -mpmath.log1p(mpmath.exp(-x)), lambda x: m_sigmoid(-x)),
    "softplus": ((1.0,), lambda x: mpmath.log1p(mpmath.exp(x)), m_sigmoid),
    "tanh": ((), mpmath.tanh, lambda x: 4 * m_sigmoid(2 * x) * m_sigmoid(-2 * x)),
    "swish": ((1.0,), *m_gated(lambda x: x, lambda x: x)),
    "swish, β = 1.3": ((1.3,), *m_gated(*[lambda x: mpmath.mpf(1.3) * x] * 2)),
    "quick_gelu": ((), *m_gated(*[lambda x: mpmath.mpf(1.702) * x] * 2)),
    "gelu_tanh": ((), *m_gated(m_tanh_z, m_tanh_zx)),
    "gelu": ((), lambda x: x * m_phi(x), lambda x: m_phi(x) + x * mpmath.npdf(x)),
    "mish": ((), m_mish, m_mish_slope),
    "elu": ((1.0,), *m_exponential(1)),
    "elu, α = 0.7": ((0.7,), *m_exponential(0.7)),
    "celu, α = 1.3": ((1.3,), *m_exponential(1.3, 1.3)),
    "selu": ((), *m_exponential(ALPHA, 1, SCALE)),
}


@cache
def exact_results(label: str) -> tuple[Tensor, list[list[tuple[mpmath.mpf, mpmath.mpf]]]]:
    """Inputs, and for f and f′ at each the true result with two units of its last place."""
    draw = torch.Generator().manual_seed(1)
    u = torch.rand(120, generator=draw, dtype=torch.float64)
    x = torch.cat([u * 12 - 6, u * 1480 - 740, u * 78 - 39, 10 ** (-300 * u), -(10 ** (-30 * u))])
    results: list[list[tuple[mpmath.mpf, mpmath.mpf]]] = [[], []]
    with mpmath.workdps(40):
        for order, function in enumerate(EXACT[label][1:]):
            for at in x.tolist():
                true = mpmath.mpf(function(mpmath.mpf(at)))
                crosses = order == 1 and abs(true) < 0.15 and -2 < at < -0.4
                size = max(abs(true), 1 if crosses else sys.float_info.min)
                results[order].append((true, mpmath.ldexp(2, int(mpmath.frexp(size)[1]) - 53)))
    return x, results


@pytest.mark.parametrize("label", EXACT)
def test_float64_within_two_ulp_of_mpmath(label, isa):
    name, parameters = kernel_of(label), EXACT[label][0]
    if not pointwise.has(name, 0, torch.float64):
        pytest.skip("float64 needs fused multiply-add")
    x, true = exact_results(label)
    for found, expected in zip(pointwise.both(name, parameters, x), true, strict=True):
        with mpmath.workdps(40):
            far = [
                at for at, y, (t, most) in zip(x.tolist(), found.tolist(), expected, strict=True) if abs(y - t) > most
            ]
        assert far == []


ENDS = {  # f and f′ at −∞ and +∞
    "relu": (0, math.inf, 0, 1),
    "relu_squared": (0, math.inf, 0, math.inf),
    "leaky_relu": (-math.inf, math.inf, 0.01, 1),
    "hardsigmoid": (0, 1, 0, 0),
    "hardswish": (0, math.inf, 0, 1),
    "softsign": (-1, 1, 0, 0),
    "sigmoid": (0, 1, 0, 0),
    "logsigmoid": (-math.inf, 0, 1, 0),
    "tanh": (-1, 1, 0, 0),
    "elu": (-1, math.inf, 0, 1),
    "elu, α = 0.7": (-0.7, math.inf, 0, 1),
    "celu, α = 1.3": (-1.3, math.inf, 0, 1),
    "selu": (-SCALE * ALPHA, math.inf, 0, SCALE),
}


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_limits_at_infinity_and_nan(label, dtype, isa):
    low, high, slope_low, slope_high = ENDS.get(label, (0, math.inf, 0, 1))
    big = torch.finfo(dtype).max
    x = torch.tensor([-math.inf, math.inf, -big, big, math.nan] * 5, dtype=dtype)  # vector and remainder of a loop
    y, d = pointwise.both(kernel_of(label), FUNCTIONS[label][0], x)
    true = torch.tensor([low, high, slope_low, slope_high], dtype=dtype)
    for k in range(5):
        at = 5 * k
        torch.testing.assert_close(y[at : at + 2], true[:2], rtol=torch.finfo(dtype).eps, atol=0)
        torch.testing.assert_close(d[at : at + 2], true[2:], rtol=torch.finfo(dtype).eps, atol=0)
        if label != "relu_squared":  # x² does leave the range
            assert y[at + 2 : at + 4].isfinite().all() or label == "selu"
            torch.testing.assert_close(d[at + 2 : at + 4], d[at : at + 2], rtol=0, atol=0)
        assert y[at + 4].isnan()
        assert d[at + 4].isnan()


@pytest.mark.parametrize(
    ("name", "parameters", "at", "slope"),
    [
        ("relu", (), 0.0, 0.0),
        ("relu_squared", (), 0.0, 0.0),
        ("leaky_relu", (0.25,), 0.0, 0.25),
        ("elu", (0.5,), 0.0, 0.5),
        ("celu", (0.5,), 0.0, 1.0),
        ("selu", (), 0.0, SCALE * ALPHA),
        ("hardswish", (), -3.0, 0.0),
        ("hardswish", (), 3.0, 1.5),
        ("hardsigmoid", (), -3.0, 0.0),
        ("hardsigmoid", (), 3.0, 1 / 6),
    ],
)
def test_at_a_kink_the_derivative_from_the_left(name, parameters, at, slope):
    for dtype in (torch.float32, torch.float64):
        found = pointwise.slope(name, parameters, torch.tensor([at], dtype=dtype))
        torch.testing.assert_close(found, torch.tensor([slope], dtype=dtype), rtol=torch.finfo(dtype).eps, atol=0)


def test_backward_of_a_negative_beta_and_of_small_ones():
    x = torch.linspace(-9, 9, 4001)
    for beta in (-2.0, 1e-3, 0.5, 40.0):
        z = x.double().requires_grad_()
        true = z * torch.sigmoid(beta * z)
        (slope,) = torch.autograd.grad(true.sum(), z)
        torch.testing.assert_close(pointwise.value("swish", (beta,), x).double(), true.detach(), rtol=3e-7, atol=1e-12)
        torch.testing.assert_close(pointwise.slope("swish", (beta,), x).double(), slope, rtol=1e-6, atol=2e-7)


@EACH
def test_times_slope_is_the_product(label):
    parameters, name = FUNCTIONS[label][0], kernel_of(label)
    x = torch.randn(3, 1237, generator=torch.Generator().manual_seed(0)) * 4
    g = torch.randn(3, 1237, generator=torch.Generator().manual_seed(1))
    expected = g * pointwise.slope(name, parameters, x)
    assert torch.equal(pointwise.times_slope(name, parameters, x, g), expected)
    assert torch.equal(pointwise.times_slope(name, parameters, x, g.T.contiguous().T), expected)
    over = g.clone()
    assert pointwise.times_slope(name, parameters, x, over, out=over) is over
    assert torch.equal(over, expected)


def test_layouts_are_kept_and_views_are_read_right():
    x = torch.randn(4, 6, 8, 10)
    flat = pointwise.value("gelu", (), x)
    for view in (x.to(memory_format=torch.channels_last), x.permute(2, 0, 3, 1), x[:, ::2, 1:], x[1:, :, 3:, ::3]):
        y = pointwise.value("gelu", (), view)
        assert y.stride() == torch.empty_like(view).stride()
    assert torch.equal(pointwise.value("gelu", (), x.transpose(0, 3)), flat.transpose(0, 3))
    assert torch.equal(pointwise.value("gelu", (), x[:, ::2, 1:]), flat[:, ::2, 1:])
    assert torch.equal(
        pointwise.value("gelu", (), torch.tensor(0.5).expand(3, 4))[1, 2],
        pointwise.value("gelu", (), torch.tensor(0.5)),
    )
    imaginary = torch.randn(9, dtype=torch.complex64).conj().imag
    assert torch.equal(pointwise.value("gelu", (), imaginary), pointwise.value("gelu", (), imaginary.resolve_neg()))
    assert pointwise.value("gelu", (), torch.empty(0, 3)).shape == (0, 3)


def test_an_output_must_fit():
    x = torch.randn(5, 7)
    out = torch.empty_like(x)
    assert pointwise.value("mish", (), x, out=out) is out
    for wrong in (torch.empty(7, 5), torch.empty(5, 7, dtype=torch.float64), torch.empty(7, 5).T):
        with pytest.raises(InputError, match="empty_like"):
            pointwise.value("mish", (), x, out=wrong)


@pytest.mark.parametrize("size", [1, 15, 17, 1023, 70_001, 5_000_017])
def test_every_size_and_way_of_writing_gives_the_same_bits(size):
    """One element, remainders of vectors, several threads, and results streamed past the cache, aligned and not."""
    x = torch.randn(size + 1, generator=torch.Generator().manual_seed(size)) * 5
    pieces = torch.cat([pointwise.both("mish", (), part)[1] for part in x.split(999)])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(pointwise.both("mish", (), x)[1], pieces)
            assert torch.equal(pointwise.slope("mish", (), x[1:]), pieces[1:])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_lookup_covers_all_numbers_of_16_bits(dtype):
    x = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    table = torch.randint(0, 1 << 16, (1 << 16,), dtype=torch.int32).to(torch.uint16).view(dtype)
    assert torch.equal(pointwise.lookup(table, x).view(torch.int16), table.view(torch.int16))
    mixed = x[torch.randperm(1 << 16)].reshape(256, 256).T
    found = pointwise.lookup(table, mixed).contiguous().view(torch.int16)
    assert torch.equal(found, table.view(torch.int16)[mixed.contiguous().view(torch.int16).int() & 0xFFFF])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_lookup_times_rounds_once_as_torch_does(dtype):
    g = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    draw = torch.Generator().manual_seed(0)
    x = g[torch.randperm(1 << 16, generator=draw)]
    slopes = torch.randn(1 << 16, generator=draw) * 10 ** (torch.rand(1 << 16, generator=draw) * 12 - 6)
    slopes[::97] = 0
    expected = (g.float() * slopes[x.view(torch.int16).int() & 0xFFFF]).to(dtype)
    found = pointwise.lookup_times(slopes, x, g)
    assert torch.equal(found.isnan(), expected.isnan())
    same = found.view(torch.int16) == expected.view(torch.int16)
    assert (same | expected.isnan()).all()


def test_what_there_is():
    assert pointwise.isa() == kernels.module.isas()[0]
    assert {kernel_of(label) for label in FUNCTIONS} | {"celu"} == set(pointwise.names())
    assert pointwise.has("gelu", 1, torch.float32)
    assert not pointwise.has("gelu", 2, torch.float32)
    assert not pointwise.has("gelu", 0, torch.bfloat16)
    assert not pointwise.has("nosuch", 0, torch.float32)
    with pytest.raises(ValueError, match="instruction set"):
        kernels.module.choose_isa("none")


def test_threads_of_python_do_not_disturb_each_other():
    x, done = torch.randn(300_000), []
    expected = pointwise.value("swish", (1.0,), x)
    threads = [Thread(target=lambda: done.append(pointwise.value("swish", (1.0,), x))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(done) == 4
    assert all(torch.equal(y, expected) for y in done)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_too():
    program = """
import os, torch
from undertow.native import pointwise
x = torch.randn(200_000)
y = pointwise.value("gelu", (), x).numpy().tobytes()  # not torch.equal: torch's own threads hang in a child
child = os.fork()
if child == 0:
    os._exit(pointwise.value("gelu", (), x).numpy().tobytes() != y)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "0"
